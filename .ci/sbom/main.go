// Command sbom prints the bill of materials of a Go program, from the program's own build information: CycloneDX in JSON, with each
// module that is linked, its version and its hash, and Go's standard library. The same program gives the same text. It needs Go, and
// fetches the tool that does the work.
//
//	go run ./.ci/sbom PROGRAM >sbom.cdx.json
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
)

// tool is CycloneDX's own generator for Go. It names itself and its version in what it writes.
const tool = "github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: go run ./.ci/sbom PROGRAM >sbom.cdx.json")
		os.Exit(2)
	}
	if err := printBill(os.Stdout, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func printBill(out io.Writer, program string) error {
	program, err := filepath.Abs(program)
	if err != nil {
		return err
	}
	text, err := generate(program)
	if err != nil {
		return err
	}
	bill, err := withoutHashesOfTheTool(text)
	if err != nil {
		return fmt.Errorf("the tool wrote no bill of materials: %w", err)
	}
	_, err = out.Write(bill)
	return err
}

// generate runs the tool. It leaves out the serial number and the time, which would differ each time.
func generate(program string) ([]byte, error) {
	command := exec.Command("go", "run", tool, "bin", "-json", "-std", "-noserial", "-notimestamp", program)
	// Flags, and another platform, are meant for the program and not for the tool. It is compiled as server/deploy/build compiles the
	// program, so that the standard library is compiled once.
	command.Env = append(os.Environ(), "GOFLAGS=-trimpath", "CGO_ENABLED=0", "GOOS=", "GOARCH=")
	var warnings bytes.Buffer
	command.Stderr = &warnings
	text, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", tool, err, warnings.Bytes())
	}
	return text, nil
}

// withoutHashesOfTheTool removes the hashes that the tool takes of its own file. They differ with the machine that compiled the tool,
// and the image would differ with them.
func withoutHashesOfTheTool(text []byte) ([]byte, error) {
	var bill map[string]any
	if err := json.Unmarshal(text, &bill); err != nil {
		return nil, err
	}
	metadata, _ := bill["metadata"].(map[string]any)
	tools, _ := metadata["tools"].([]any)
	if len(tools) != 1 {
		return nil, errors.New("its metadata does not name one tool")
	}
	one, _ := tools[0].(map[string]any)
	delete(one, "hashes")
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(bill); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

package deploy

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// instruction is an instruction of a Dockerfile.
type instruction struct{ name, rest string }

// readDockerfile returns the instructions of each stage, FROM first.
func readDockerfile(t *testing.T) (stages [][]instruction) {
	t.Helper()
	text, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	joined := regexp.MustCompile(`\\\n\s*`).ReplaceAllString(string(text), "")
	for line := range strings.Lines(joined) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(line, " ")
		switch {
		case name == "FROM":
			stages = append(stages, nil)
		case len(stages) == 0 && name == "ARG":
			continue // a base: checked by name
		case len(stages) == 0:
			t.Fatalf("%s before FROM", name)
		}
		last := len(stages) - 1
		stages[last] = append(stages[last], instruction{name, rest})
	}
	return stages
}

func find(stage []instruction, name string) (found []string) {
	for _, i := range stage {
		if i.name == name {
			found = append(found, i.rest)
		}
	}
	return found
}

// The image is built by the script that is tested here, from files that are there.
func TestDockerfileBuilds(t *testing.T) {
	stages := readDockerfile(t)
	if len(stages) != 2 {
		t.Fatalf("%d stages", len(stages))
	}
	stage := stages[0]
	if want := "--platform=$BUILDPLATFORM $GO_IMAGE AS build"; stage[0].rest != want {
		t.Errorf("FROM %s; want %s", stage[0].rest, want)
	}
	for name, want := range map[string]string{"GO_IMAGE": "docker.io/library/golang:", "BASE_IMAGE": "gcr.io/distroless/static-"} {
		if got := baseOf(t, name); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %q; want one of %s", name, got, want)
		}
	}
	for _, sources := range find(stage, "COPY") {
		names := strings.Fields(sources)
		for _, name := range names[:len(names)-1] {
			if _, err := os.Stat("../../" + name); err != nil {
				t.Errorf("COPY %s: %v", sources, err)
			}
		}
	}
	if !slices.Contains(find(stage, "RUN"), "GOOS=$TARGETOS GOARCH=$TARGETARCH server/deploy/build /server") {
		t.Errorf("not built by server/deploy/build: %q", find(stage, "RUN"))
	}
	if want := "CGO_ENABLED=0 go run -trimpath ./.ci/sbom /server >/sbom.cdx.json"; !slices.Contains(find(stage, "RUN"), want) {
		t.Errorf("no bill of materials by .ci/sbom: %q", find(stage, "RUN"))
	}
	if info, err := os.Stat("build"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf("build cannot be run: %v", err)
	}
}

// The image holds the program and its notices, and runs the program as the user nobody, as Kubernetes does.
func TestDockerfileRuns(t *testing.T) {
	stage := readDockerfile(t)[1]
	if stage[0].rest != "$BASE_IMAGE" {
		t.Errorf("FROM %s; want $BASE_IMAGE", stage[0].rest)
	}
	for name, want := range map[string][]string{
		"COPY": {
			"--from=build --chmod=0755 /server /server", "--from=build --chmod=0644 /src/server/THIRD_PARTY_NOTICES /THIRD_PARTY_NOTICES",
			"--from=build --chmod=0644 /sbom.cdx.json /sbom.cdx.json",
		},
		"USER": {"65532:65532"}, "RUN": nil, "ENV": nil, "VOLUME": nil,
		"ENTRYPOINT": {`["/server"]`}, "CMD": {`["serve"]`},
	} {
		if got := find(stage, name); !slices.Equal(got, want) {
			t.Errorf("%s %q; want %q", name, got, want)
		}
	}
	health := find(stage, "HEALTHCHECK")
	if len(health) != 1 {
		t.Fatalf("HEALTHCHECK %q", health)
	}
	options, command, _ := strings.Cut(health[0], " CMD ")
	var args []string
	if err := json.Unmarshal([]byte(command), &args); err != nil || !slices.Equal(args, []string{"/server", "healthcheck"}) {
		t.Errorf("HEALTHCHECK CMD %s: %v", command, err)
	}
	// The command's own limit is 3 s: it needs that time to report the fault.
	timeout := regexp.MustCompile(`--timeout=(\S+)`).FindStringSubmatch(options)
	if timeout == nil {
		t.Fatalf("HEALTHCHECK %s has no timeout", options)
	}
	if limit, err := time.ParseDuration(timeout[1]); err != nil || limit <= 3*time.Second {
		t.Errorf("HEALTHCHECK may take %s: %v", timeout[1], err)
	}
}

// What git tracks must reach the build, else Go calls the source modified.
func TestDockerignoreLeavesWhatGitTracks(t *testing.T) {
	read := func(name string) (lines []string) {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				lines = append(lines, strings.TrimPrefix(line, "**/"))
			}
		}
		return lines
	}
	ignored := read(".gitignore")
	for _, pattern := range read(".dockerignore") {
		if !slices.Contains(ignored, pattern) {
			t.Errorf(".dockerignore hides %s, and git does not", pattern)
		}
	}
}

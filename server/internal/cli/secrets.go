package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/alecthomas/kong"

	"example.com/verification-status/server/internal/config"
)

// flagWarnings has a sentence for each secret that was typed as a flag.
type flagWarnings []string

// print writes the sentences to the standard error, for the commands without a log.
func (f flagWarnings) print() {
	for _, warning := range f {
		fmt.Fprintln(os.Stderr, warning)
	}
}

// secretsInFlags warns of secrets that were typed as flags: ps shows them to every user of the machine as long as the process runs.
// A URL of Redis without a password is not a secret.
func secretsInFlags(parsed *kong.Context) (warnings flagWarnings) {
	for _, element := range parsed.Path {
		flag := element.Flag
		if flag == nil || flag.Tag.Get("secret") != "true" {
			continue
		}
		if target, err := (&config.Config{RedisURL: fmt.Sprint(flag.Target.Interface())}).RedisTarget(); err == nil && target.Password == "" {
			continue
		}
		env := flag.Tag.Get("env")
		warnings = append(warnings, fmt.Sprintf("--%s is a flag, so that ps shows the secret to every user of this machine: set %s, or name a file in %s_FILE", flag.Name, env, env))
	}
	return warnings
}

// withoutValues removes the values that were typed or set from an error text. kong takes a secret with a space before it for an
// argument and quotes it. Short texts stay, so that a mistyped command is readable.
func withoutValues(text string, args []string) string {
	const shortest = 8
	var values []string
	for _, arg := range args {
		if name, value, found := strings.Cut(arg, "="); found && strings.HasPrefix(name, "-") {
			arg = value
		}
		values = append(values, arg)
	}
	for _, setting := range config.Table() {
		values = append(values, os.Getenv(setting.Env))
	}
	for _, value := range values {
		if len(value) >= shortest && !strings.HasPrefix(value, "-") {
			text = strings.ReplaceAll(text, value, "[value]")
			text = strings.ReplaceAll(text, strings.ToLower(value), "[value]") // as kong quotes booleans
		}
	}
	return text
}

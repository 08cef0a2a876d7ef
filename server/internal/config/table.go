package config

import (
	"encoding"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"example.com/verification-status/server/internal/verification"
)

// concealed stands in place of a secret.
const concealed = "[secret]"

// vars are the values that struct tags refer to as ${name}, so that what the core decides is written once.
var vars = kong.Vars{"retry_deny_codes": strings.Join(verification.DefaultDenyCodes(), ",")}

// Vars returns the option without which kong cannot read the struct tags.
func Vars() kong.Option { return vars }

// Setting describes one setting by its struct tags.
type Setting struct {
	Flag    string // without dashes: "grpc-addr"
	Env     string // "GRPC_ADDR"
	Default string // empty if it has none
	Help    string
	Secret  bool // its value must not be shown
}

// Table describes every setting, in the order of Config's fields. Tests compare the documentation with it.
func Table() []Setting {
	var table []Setting
	for field := range reflect.TypeFor[Config]().Fields() {
		if setting := describe(field); setting.Flag != "" {
			table = append(table, setting)
		}
	}
	return table
}

// Defaults returns settings with the defaults of the struct tags. Set what is required, then call Load.
func Defaults() *Config {
	var c Config
	values := reflect.ValueOf(&c).Elem()
	for i := range values.NumField() {
		text := describe(values.Type().Field(i)).Default
		if text == "" {
			continue
		}
		switch value := values.Field(i).Addr().Interface().(type) {
		case *string:
			*value = text
		case *Bool:
			*value = readBool(text)
		case encoding.TextUnmarshaler: // Count and Duration, which never fail
			_ = value.UnmarshalText([]byte(text))
		}
	}
	return &c
}

func describe(field reflect.StructField) Setting {
	return Setting{
		Flag:    field.Tag.Get("name"),
		Env:     field.Tag.Get("env"),
		Default: os.Expand(field.Tag.Get("default"), func(name string) string { return vars[name] }),
		Help:    field.Tag.Get("help"),
		Secret:  field.Tag.Get("secret") == "true",
	}
}

// Redacted returns every setting under the name of its environment variable, for the log. "[secret]" stands for a secret that
// is set; in REDIS_URL it stands for the password only.
func (c *Config) Redacted() []slog.Attr {
	var attrs []slog.Attr
	values := reflect.ValueOf(c).Elem()
	for i := range values.NumField() {
		setting := describe(values.Type().Field(i))
		if setting.Flag == "" {
			continue
		}
		shown := fmt.Sprint(values.Field(i).Interface())
		if setting.Secret && shown != "" {
			shown = concealed
			if target, err := c.RedisTarget(); setting.Env == "REDIS_URL" && err == nil {
				shown = target.redacted()
			}
		}
		attrs = append(attrs, slog.String(setting.Env, shown))
	}
	return attrs
}

// Secrets returns every secret that is set, so that the log can conceal it in any text: the API keys, the webhook secrets and
// the passwords of Redis and its Sentinels.
func (c *Config) Secrets() []string {
	secrets := []string{c.StripeAPIKey, c.StripeSensitiveAPIKey, c.RedisSentinelPassword}
	secrets = append(secrets, c.WebhookSecrets()...)
	for _, own := range c.AccountKeys() {
		secrets = append(secrets, own.Key)
	}
	if target, err := c.RedisTarget(); err == nil {
		secrets = append(secrets, target.Password)
	}
	var set []string
	for _, secret := range secrets {
		if secret != "" {
			set = append(set, secret)
		}
	}
	return set
}

package config

import (
	"encoding"
	"fmt"
	"log/slog"
	"reflect"
)

// concealed is what is shown in place of a secret.
const concealed = "[secret]"

// Setting describes one setting, as its struct tags do.
type Setting struct {
	Flag    string // without dashes: "grpc-addr"
	Env     string // "GRPC_ADDR"
	Default string // empty where there is none
	Help    string
	Secret  bool // its value must not be shown
}

// Table describes every setting, in the order of Config's fields. Documentation is tested against
// it.
func Table() []Setting {
	var table []Setting
	for field := range reflect.TypeFor[Config]().Fields() {
		table = append(table, describe(field))
	}
	return table
}

// Defaults returns the settings of a server for which nothing is set, as the struct tags say. Call Load after setting
// what is required.
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
		Default: field.Tag.Get("default"),
		Help:    field.Tag.Get("help"),
		Secret:  field.Tag.Get("secret") == "true",
	}
}

// Redacted is every setting under the name of its variable, for the log. A secret that is set
// reads "[secret]"; of REDIS_URL only the password does.
func (c *Config) Redacted() []slog.Attr {
	var attrs []slog.Attr
	values := reflect.ValueOf(c).Elem()
	for i := range values.NumField() {
		setting := describe(values.Type().Field(i))
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

// Secrets is every secret text among the settings, so that the log can conceal them wherever they
// turn up: the API key, the webhook secrets and the passwords of Redis and its Sentinels.
func (c *Config) Secrets() []string {
	secrets := []string{c.StripeAPIKey, c.RedisSentinelPassword}
	secrets = append(secrets, c.WebhookSecrets()...)
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

package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"example.com/verification-status/client/clienttest"
)

func TestSettings(t *testing.T) {
	for args, problem := range map[string]string{
		"": "",
		"-page https://a.example/again -status dns:///status:1 -sent a": "",
		"-page https://a.example/again -status dns:///status:1":         "-sent: give the directory",
		"-page https://a.example/again -smtp mx.example:587":            "-sent: give the directory",
		"-smtp mx.example:587 -sent a":                                  "-page: give the address of your page",
		"-page http://127.0.0.1:8080/":                                  "",
		"-status dns:///status:1":                                       "-page: give the address of your page",
		"-page http://a.example/":                                       "give an address with https://",
		"-page a.example":                                               "give an address with https://",
		"-smtp localhost":                                               "-smtp",
		"-smtp :25":                                                     "-smtp",
		"-smtp a:99999":                                                 "-smtp",
		"-from nobody":                                                  "-from",
		"-team nobody":                                                  "-team",
		"-language fr":                                                  "-language",
		"-give-up-after 0s":                                             "-give-up-after",
		"-address nobody@a.example":                                     "-address",
	} {
		_, err := readSettings(strings.Fields(args), func(string) string { return "" })
		if problem == "" && err != nil || problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("%q: %v; want %q", args, err, problem)
		}
	}
}

// TestVariables: each setting has one, and a flag counts more.
func TestVariables(t *testing.T) {
	env := map[string]string{"MAILER_MUST_EXIST": "true", "SMTP_ADDR": "mx.example:587", "MAILER_CONSUMER": "one"}
	s, err := readSettings([]string{"-consumer", "two", "-page", "https://a.example/", "-sent", "a"}, func(name string) string { return env[name] })
	if err != nil || !s.mustExist || s.smtp != "mx.example:587" || s.consumer != "two" {
		t.Errorf("%+v, %v", s, err)
	}
	env["MAILER_MUST_EXIST"] = "perhaps"
	if _, err := readSettings(nil, func(name string) string { return env[name] }); err == nil || !strings.Contains(err.Error(), "MAILER_MUST_EXIST") {
		t.Errorf("error %v", err)
	}
}

// TestPassword comes from a variable or a file, never both.
func TestPassword(t *testing.T) {
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for problem, env := range map[string]map[string]string{
		"":             {"SMTP_PASSWORD_FILE": file},
		"both set":     {"SMTP_PASSWORD": "secret", "SMTP_PASSWORD_FILE": file},
		"no such file": {"SMTP_PASSWORD_FILE": file + "x"},
		"is empty":     {"SMTP_PASSWORD_FILE": os.DevNull},
	} {
		s, err := readSettings(nil, func(name string) string { return env[name] })
		if problem == "" && (err != nil || s.password != "secret") {
			t.Errorf("password %q, %v", s.password, err)
		}
		if problem != "" && (err == nil || !strings.Contains(err.Error(), problem)) {
			t.Errorf("error %v; want %q", err, problem)
		}
	}
}

// TestToken: the token of the caller is in a variable or a file, and goes with each call. A file is read again.
func TestToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("vst_one") // so that the file exists
	for problem, env := range map[string]map[string]string{
		"both set":     {"VERIFICATION_TOKEN": "vst_one", "VERIFICATION_TOKEN_FILE": file},
		"no such file": {"VERIFICATION_TOKEN_FILE": file + "x"},
	} {
		if _, err := readSettings(nil, func(name string) string { return env[name] }); err == nil || !strings.Contains(err.Error(), problem) {
			t.Errorf("error %v; want %q", err, problem)
		}
	}
	for name, env := range map[string]map[string]string{"variable": {"VERIFICATION_TOKEN": "vst_two"}, "file": {"VERIFICATION_TOKEN_FILE": file}} {
		write("vst_one")
		s, err := readSettings(nil, func(name string) string { return env[name] })
		if err != nil {
			t.Fatal(err)
		}
		write("vst_two")
		got := make(chan string, 1)
		server := clienttest.New(t, grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
			header, _ := metadata.FromIncomingContext(stream.Context())
			select {
			case got <- strings.Join(header.Get("authorization"), ","):
			default:
			}
			return handler(service, stream)
		}))
		replica, err := server.Listen("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		s.target = replica.Target()
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		ended := make(chan error, 1)
		go func() { ended <- run(ctx, s, hooks{}) }()
		select {
		case token := <-got:
			if token != "Bearer vst_two" {
				t.Errorf("%s: the call has the token %q", name, token)
			}
		case <-ctx.Done():
			t.Errorf("%s: no call", name)
		}
		cancel()
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatalf("%s: the mailer does not end", name)
		}
	}
}

// TestAddresses: what is not exactly one address is none.
func TestAddresses(t *testing.T) {
	d := template{address: "{reference}@people.example", language: "en"}
	for ref, want := range map[string]string{
		"user-42": "user-42@people.example", "": "", "a b": "", "a, b": "", "a@b": "", "x>\r\nBcc: c": "", "a@b.example, c": "", "(c)a": "", " a": "", `"a b"`: "",
	} {
		got, err := d.find(t.Context(), ref)
		if want == "" && err == nil || want != "" && (err != nil || got.address.Address != want) {
			t.Errorf("%q: %v, %v; want %q", ref, got.address, err, want)
		}
	}
}

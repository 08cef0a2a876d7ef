package e2e

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"example.com/verification-status/server/tests/rig"
)

// secretCanaries are texts that must not appear anywhere. Each has a middle part of its own, so that it is found even if
// its ends are cut or masked.
type secretCanaries struct{ texts []string }

func (p *secretCanaries) add(format, marker string) string {
	p.texts = append(p.texts, marker)
	return fmt.Sprintf(format, marker)
}

// addLink adds the last part of a link, and the random part of a client secret. The rest of either is not secret.
func (p *secretCanaries) addLink(url, secret string) {
	if at := strings.LastIndex(url, "/"); at > 0 && len(url) > at+1 {
		p.texts = append(p.texts, url[at+1:])
	}
	if _, random, ok := strings.Cut(secret, "_secret_"); ok {
		p.texts = append(p.texts, random)
	}
}

func (p *secretCanaries) wantAbsent(t *testing.T, where, text string) {
	t.Helper()
	for _, marker := range p.texts {
		for _, form := range []string{marker, url.QueryEscape(marker)} {
			if at := strings.Index(text, form); at >= 0 {
				t.Errorf("%s holds a secret: …%s…", where, text[max(0, at-300):min(len(text), at+100)])
				return
			}
		}
	}
}

// adminPages returns the pages of a running server that operators see.
func adminPages(t *testing.T, server *rig.Process) (pages []string) {
	t.Helper()
	client := rig.NewHTTPClient(t)
	for _, path := range []string{
		"/metrics", "/livez", "/readyz", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/debug/pprof/heap?debug=1",
	} {
		response, err := client.Get(server.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		page, err := rig.ReadAll(response)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
	}
	return pages
}

// dumpRedis returns every key with everything in it, and that is all kinds of keys.
func dumpRedis(t *testing.T, addr, password string) string {
	t.Helper()
	dump, kinds := dumpKeys(t, addr, password)
	if !kinds["string"] || !kinds["stream"] || !kinds["zset"] {
		t.Errorf("the dump has only %v", kinds)
	}
	return dump
}

// dumpKeys returns every key with everything in it, a line each, and the kinds of the keys.
func dumpKeys(t *testing.T, addr, password string) (text string, kinds map[string]bool) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, Password: password})
	defer client.Close()
	ctx := rig.Within(t, rig.Soon)
	var dump strings.Builder
	kinds = map[string]bool{}
	for keys := client.Scan(ctx, 0, "*", 1000).Iterator(); keys.Next(ctx); {
		key := keys.Val()
		kind, err := client.Type(ctx, key).Result()
		if err != nil {
			t.Fatal(err)
		}
		if kind == "none" {
			continue // a lease that was given up between the two commands
		}
		kinds[kind] = true
		var value any
		switch kind {
		case "string":
			value, err = client.Get(ctx, key).Result()
		case "hash":
			value, err = client.HGetAll(ctx, key).Result()
		case "zset":
			value, err = client.ZRangeWithScores(ctx, key, 0, -1).Result()
		case "stream":
			value, err = client.XRange(ctx, key, "-", "+").Result()
		case "set":
			value, err = client.SMembers(ctx, key).Result()
		case "list":
			value, err = client.LRange(ctx, key, 0, -1).Result()
		default:
			t.Fatalf("key %q is a %s, which this test does not know", key, kind)
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&dump, "%s = %v\n", key, value)
	}
	return dump.String(), kinds
}

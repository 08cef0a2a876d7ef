package redisstore

import (
	"errors"
	"strings"
	"testing"
)

func TestOpenNamesAllProblems(t *testing.T) {
	tests := []struct {
		options Options
		want    []string
	}{
		{Options{}, []string{"addresses"}},
		{Options{Addrs: []string{"a", "b"}}, []string{"2 addresses"}},
		{Options{Addrs: []string{"a"}, Mode: "ring", Prefix: "{x}", DB: -1, FeedMaxLen: -1}, []string{"mode", "prefix", "database", "feed"}},
		{Options{Addrs: []string{"a"}, Mode: Sentinel}, []string{"Sentinel"}},
		{Options{Addrs: []string{"a"}, SentinelMaster: "m"}, []string{"Sentinel"}},
		{Options{Addrs: []string{"a"}, Mode: Cluster, DB: 1}, []string{"database 1"}},
		{Options{Addrs: []string{"a"}, Prefix: strings.Repeat("x", maxPrefix+1)}, []string{"prefix"}},
	}
	for _, test := range tests {
		_, err := Open(test.options)
		if !errors.Is(err, ErrMisconfigured) {
			t.Errorf("%+v: %v; want ErrMisconfigured", test.options, err)
			continue
		}
		for _, word := range test.want {
			if !strings.Contains(err.Error(), word) {
				t.Errorf("%+v: %v; want also %q", test.options, err, word)
			}
		}
	}
}

// TestOpenAsksNothing: Open succeeds if Redis is unavailable or does not exist.
func TestOpenAsksNothing(t *testing.T) {
	for _, o := range []Options{
		{Addrs: []string{"127.0.0.1:1"}},
		{Addrs: []string{"127.0.0.1:1", "127.0.0.1:2"}, Mode: Sentinel, SentinelMaster: "m"},
		{Addrs: []string{"127.0.0.1:1", "127.0.0.1:2"}, Mode: Cluster},
	} {
		s, err := Open(o)
		if err != nil {
			t.Errorf("%s: %v", o.Mode, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Errorf("%s: Close: %v", o.Mode, err)
		}
	}
}

package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func hashOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestNewTokensAreReadAndFound(t *testing.T) {
	var file strings.Builder
	file.WriteString("# rolled every quarter\n\n")
	made := map[string]Token{}
	for _, c := range []struct{ name, rights string }{{"web", "read"}, {"web", "read,retry"}, {"a/b-c_d.e", "watch-all,list"}} {
		rights, err := ParseRights(c.rights)
		if err != nil {
			t.Fatal(err)
		}
		token, line, err := NewToken(c.name, rights)
		if err != nil {
			t.Fatal(err)
		}
		if len(token) != tokenLength || strings.Contains(line.String(), token) || made[token].Name != "" {
			t.Errorf("token %q, line %q", token, line)
		}
		made[token] = line
		file.WriteString("  " + line.String() + " \r\n")
	}
	read, err := ParseTokens(file.String())
	if err != nil || len(read) != 3 {
		t.Fatalf("%v, %v", read, err)
	}
	current := newTokens(read)
	for token, line := range made {
		got := current.find(token)
		if got == nil || !reflect.DeepEqual(*got.token, line) || got.principal != "token:"+line.Name {
			t.Errorf("%v; want %v", got, line)
		}
		for _, wrong := range []string{token + "x", token[:len(token)-1], strings.ToUpper(token), ""} {
			if got := current.find(wrong); got != nil {
				t.Errorf("%q found %v", wrong, got)
			}
		}
	}
}

func TestOnlyWhatLooksLikeATokenIsHashed(t *testing.T) {
	token, _, err := NewToken("web", []Right{RightRead})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]bool{
		"Bearer " + token: true, "Bearer " + token + "x": false, "Bearer " + token[1:]: false, "Token " + token: false,
		"Bearer x" + token[1:]: false, "Bearer  " + token[1:]: false, "Bearer": false,
	} {
		if _, ok := parseBearer([]string{value}); ok != want {
			t.Errorf("%q: %v", value, ok)
		}
	}
}

func TestNewTokenRefusesNames(t *testing.T) {
	for _, name := range []string{"", " ", "a b", "-a", "token:a", "ä", "a\n", strings.Repeat("a", 101)} {
		if _, _, err := NewToken(name, []Right{RightRead}); err == nil {
			t.Errorf("%q was taken", name)
		}
	}
}

func TestParseTokensRefuses(t *testing.T) {
	hash := hashOf("planted")
	for name, c := range map[string]struct{ text, want string }{
		"a word too few":   {"web " + hash, `line 1: a line is "NAME SHA256 RIGHTS"`},
		"a word too many":  {"web " + hash + " read retry", `line 1: a line is "NAME SHA256 RIGHTS"`},
		"name":             {"# x\ntoken:web " + hash + " read", "line 2: the name"},
		"no hash":          {"web planted read", "line 1: the second word"},
		"hash not in hex":  {"web " + strings.Repeat("z", 64) + " read", "line 1: the second word"},
		"hash cut off":     {"web " + hash[:62] + " read", "line 1: the second word"},
		"right cut off":    {"web " + hash + " read,", "line 1: rights are"},
		"no right":         {"web " + hash + " ,", "line 1: rights are"},
		"right twice":      {"web " + hash + " read,read", "line 1: the right read is named twice"},
		"token twice":      {"web " + hash + " read\nops " + strings.ToUpper(hash) + " retry", "line 2: the same token"},
		"too many":         {manyTokens(maxTokens + 1), fmt.Sprintf("line %d: there are over %d", maxTokens+1, maxTokens)},
		"the token itself": {"web vst_planted_planted_planted_planted_planted_plante read", "line 1: the second word"},
	} {
		_, err := ParseTokens(c.text)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "planted") || strings.Contains(strings.ToLower(err.Error()), hash[:16]) {
			t.Errorf("%s: the error quotes the file: %v", name, err)
		}
	}
	if read, err := ParseTokens(manyTokens(maxTokens)); err != nil || len(read) != maxTokens {
		t.Errorf("%d tokens, %v", len(read), err)
	}
}

func TestRightsThatAreNotKnownAreLeftOut(t *testing.T) {
	text := "# x\nweb " + hashOf("a") + " read,operate,retry\nops " + hashOf("b") + " operate,consume\nbff " + hashOf("c") + " list\n" +
		"bad " + hashOf("d") + " vst_planted,Read\n"
	read, odd, err := readTokens(text)
	if err != nil || len(read) != 4 {
		t.Fatalf("%v, %v", read, err)
	}
	wantOdd := []unknownRights{{2, "token:web", 1, false}, {3, "token:ops", 2, true}, {5, "token:bad", 2, true}}
	if !reflect.DeepEqual(odd, wantOdd) {
		t.Errorf("unknown rights %+v; want %+v", odd, wantOdd)
	}
	for i, want := range [][]Right{{RightRead, RightRetry}, nil, {RightList}, nil} {
		if !slices.Equal(read[i].Rights, want) {
			t.Errorf("%s has the rights %v; want %v", read[i].Name, read[i].Rights, want)
		}
		for right, paths := range pathsOfRight {
			if got := read[i].allows(paths[0]); got != slices.Contains(want, right) {
				t.Errorf("%s may %s: %v", read[i].Name, right, got)
			}
		}
	}
	if _, err := ParseRights("read,operate"); err == nil {
		t.Error("a token is made with a right that is not known")
	}
}

func manyTokens(n int) string {
	var file strings.Builder
	for i := range n {
		fmt.Fprintf(&file, "web %064x read\n", i)
	}
	return file.String()
}

func FuzzParseTokens(f *testing.F) {
	hash := hashOf("a")
	for _, text := range []string{"", "# x", "web " + hash + " read,retry\n", "web " + hash + " read\r\n\r\nops " + hashOf("b") + " list,watch-all", "web " + hash + " operate,read,vst_", "\xff \x00 ,", "web  " + hash + "\tread"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		read, err := ParseTokens(text)
		if err != nil {
			for _, word := range strings.Fields(text) {
				if len(word) >= 32 && strings.Contains(err.Error(), word) {
					t.Fatalf("the error quotes the file: %v", err)
				}
			}
			return
		}
		var again strings.Builder
		for _, token := range read {
			if len(token.principal()) > maxPrincipal {
				t.Fatalf("%v", token)
			}
			if len(token.Rights) == 0 { // all of them were left out
				return
			}
			again.WriteString(token.String() + "\n")
		}
		if reread, err := ParseTokens(again.String()); err != nil || !reflect.DeepEqual(read, reread) {
			t.Fatalf("%q reads as %v, and again as %v, %v", text, read, reread, err)
		}
	})
}

func FuzzBearer(f *testing.F) {
	token, line, err := NewToken("web", []Right{RightRead})
	if err != nil {
		f.Fatal(err)
	}
	current := newTokens([]Token{line})
	for _, value := range []string{"", "Bearer", "Bearer ", "Bearer " + token, "bEARER " + token, "Bearer  " + token, "Bearer " + token + " ", token, "Basic " + token, "Bearer " + strings.Repeat("a", 1<<16)} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c := current.identify([]string{value})
		right := len(value) > 7 && strings.EqualFold(value[:7], "Bearer ") && value[7:] == token
		if (c.problem == "") != right || (c.principal == "token:web") != right || (c.token != nil) != right {
			t.Fatalf("%q makes %+v", value, c)
		}
		if twice := current.identify([]string{value, value}); twice.problem == "" {
			t.Fatalf("%q twice makes %+v", value, twice)
		}
	})
}

package deploy

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// entries returns the runbook's sections by title.
func entries(t testing.TB) map[string]string {
	t.Helper()
	text, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for i, section := range strings.Split(string(text), "\n## ") {
		if i > 0 {
			title, body, _ := strings.Cut(section, "\n")
			found[title] = body
		}
	}
	return found
}

// anchor returns the fragment of a link to a heading.
func anchor(title string) string {
	return strings.ReplaceAll(regexp.MustCompile(`[^a-z0-9_ -]`).ReplaceAllString(strings.ToLower(title), ""), " ", "-")
}

// TestEveryAlertHasAnEntry: each alert links to an entry that says how urgent the alert is and answers four questions, in this
// order. Each entry has an alert.
func TestEveryAlertHasAnEntry(t *testing.T) {
	sections, severities := entries(t), map[string][]string{}
	for _, a := range readAlerts(t) {
		severities[a.Alert] = append(severities[a.Alert], a.Labels["severity"])
		if want := "server/deploy/RUNBOOK.md#" + anchor(a.Alert); a.Annotations["runbook"] != want {
			t.Errorf("%s leads to %q; want %q", a.Alert, a.Annotations["runbook"], want)
		}
		if a.Annotations["summary"] == "" {
			t.Errorf("%s has no summary", a.Alert)
		}
	}
	for alert, urgent := range severities {
		body, found := sections[alert]
		if !found {
			t.Errorf("%s has no entry", alert)
			continue
		}
		delete(sections, alert)
		begin := map[string]string{"page": "\nPage", "ticket": "\nTicket", "page ticket": "\nPage or ticket"}[strings.Join(urgent, " ")]
		if begin == "" || !strings.HasPrefix(body, begin) || len(urgent) == 1 && strings.HasPrefix(body, "\nPage or") {
			t.Errorf("%s is %v; its entry begins %.20q", alert, urgent, body)
		}
		at := 0
		for _, part := range []string{"\n\n**Means.** ", "\n\n**Look at.** ", "\n\n**Do.** ", "\n\n**Over when.** "} {
			next := strings.Index(body[at:], part)
			if next < 0 {
				t.Errorf("%s: no %q after the part before it", alert, strings.TrimSpace(part))
				break
			}
			at += next
		}
	}
	for title := range sections {
		if !strings.HasPrefix(title, "A walk through: ") {
			t.Errorf("the entry %s has no alert", title)
		}
	}
}

// TestRunbookLinks: each link of the runbook has a target.
func TestRunbookLinks(t *testing.T) {
	text, err := os.ReadFile("RUNBOOK.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)]*)\)`).FindAllStringSubmatch(string(text), -1) {
		file, fragment, _ := strings.Cut(link[1], "#")
		target := text
		if file != "" {
			if target, err = os.ReadFile(file); err != nil {
				t.Errorf("%s: %v", link[1], err)
			}
		}
		there := fragment == ""
		for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(target), -1) {
			there = there || anchor(heading[1]) == fragment
		}
		if !there {
			t.Errorf("the link %s has no target", link[1])
		}
	}
}

// TestRunbookNamesPanelsAndLogLines: each panel that the runbook names is in the dashboard, and each log line is in the source.
func TestRunbookNamesPanelsAndLogLines(t *testing.T) {
	panels := map[string]bool{}
	for _, p := range readDashboard(t) {
		panels[p.Title] = true
	}
	var source strings.Builder
	err := filepath.WalkDir("../internal", func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		source.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named, logged := 0, 0
	for title, body := range entries(t) {
		body = strings.ReplaceAll(body, "\n", " ")
		for _, list := range regexp.MustCompile(`[Pp]anels? \*[^*]+\*(?:[^*.;:]{0,30} and \*[^*]+\*)?`).FindAllString(body, -1) {
			for _, name := range regexp.MustCompile(`\*([^*]+)\*`).FindAllStringSubmatch(list, -1) {
				named++
				if !panels[name[1]] {
					t.Errorf("%s: the dashboard has no panel %q", title, name[1])
				}
			}
		}
		for _, list := range regexp.MustCompile("log lines? `[^`]+`(?:(?: or|[^`.:;]*,) `[^`]+`)?").FindAllString(body, -1) {
			for _, line := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(list, -1) {
				logged++
				if !strings.Contains(source.String(), line[1]) {
					t.Errorf("%s: nothing logs %q", title, line[1])
				}
			}
		}
	}
	if named < 20 || logged < 8 {
		t.Errorf("only %d panels and %d log lines were recognised", named, logged)
	}
}

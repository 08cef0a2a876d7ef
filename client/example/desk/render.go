package main

import (
	"bytes"
	"embed"
	"html/template"
	"log/slog"
	"net/http"
	"strconv"
)

//go:embed pages
var files embed.FS

// pages has a template for each page, by the name of its file.
var pages = parsePages("queue", "person", "session", "act", "link", "consumers", "problem", "sign-in")

func parsePages(names ...string) map[string]*template.Template {
	all := make(map[string]*template.Template)
	for _, name := range names {
		all[name] = template.Must(template.ParseFS(files, "pages/layout.html", "pages/parts.html", "pages/"+name+".html"))
	}
	return all
}

// frame is what all pages have in common.
type frame struct {
	Title   string
	Nav     string // the current entry of the navigation
	Person  string // the name of the person at the desk; empty: nobody is signed in
	SignOut bool   // people can sign out here
	Own     bool   // calls have the person's own token
	Query   string // in the search field
	Live    string // the address of the stream of a live page
	Stamp   string // the revision that a live page shows; if the stream has another one, the page loads itself again
	News    string // what a screen reader says when a live page has changed
	Done    string // what the person has just done
}

func (s *site) frame(r *http.Request, title, nav string) frame {
	return frame{Title: title, Nav: nav, Person: personOf(r.Context()).name, SignOut: s.staff.userHeader == "", Own: s.staff.tokenHeader != ""}
}

// render writes a page. data embeds a frame.
func (s *site) render(w http.ResponseWriter, status int, name string, data any) {
	var page bytes.Buffer
	if err := pages[name].ExecuteTemplate(&page, "layout", data); err != nil {
		slog.Error("a page cannot be made", "page", name, "error", err)
		http.Error(w, "internal error", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = page.WriteTo(w)
}

func number[N int | int32 | int64](n N) string { return strconv.FormatInt(int64(n), 10) }

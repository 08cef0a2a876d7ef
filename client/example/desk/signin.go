package main

import "net/http"

type signInPage struct {
	frame
	Token string
	Name  string
	Wrong bool
}

// askName asks for a name, for demonstrations.
func (s *site) askName(w http.ResponseWriter, r *http.Request) {
	s.render(w, http.StatusOK, "sign-in", s.signInPage(r, "", false))
}

func (s *site) signInPage(r *http.Request, name string, wrong bool) signInPage {
	return signInPage{frame: s.frame(r, "Who are you?", ""), Token: s.staff.seal("sign-in"), Name: name, Wrong: wrong}
}

func (s *site) signIn(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	name := r.PostFormValue("name")
	if !isName(name) || !s.staff.opens(r.PostFormValue("token"), formFor, "sign-in") {
		s.render(w, http.StatusUnprocessableEntity, "sign-in", s.signInPage(r, name, true))
		return
	}
	s.staff.signIn(w, name)
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (s *site) signOut(w http.ResponseWriter, r *http.Request) {
	s.staff.signOut(w)
	http.Redirect(w, r, "/sign-in", http.StatusSeeOther)
}

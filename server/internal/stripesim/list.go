package stripesim

import (
	"net/http"
	"slices"
	"strconv"
)

const (
	defaultListLimit = 10
	maxListLimit     = 100
)

// listObject is a page of a list, newest first.
type listObject struct {
	Object  string          `json:"object"`
	Data    []sessionObject `json:"data"`
	HasMore bool            `json:"has_more"`
	URL     string          `json:"url"`
}

type listQuery struct {
	paging
	reference, status string
}

// paging has the parameters that all lists share.
type paging struct {
	startingAfter, endingBefore string
	limit                       int
	created                     []func(int64) bool
}

var pagingParams = []string{"created", "limit", "starting_after", "ending_before"}

func (p *paging) within(created int64) bool {
	for _, in := range p.created {
		if !in(created) {
			return false
		}
	}
	return true
}

func (q *listQuery) matches(sess *session) bool {
	return (q.status == "" || sess.status == q.status) && q.within(sess.created)
}

func listSessions(s *Sim, c call) (operation, *Error) {
	q, err := parseList(c.params)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) { return s.list(c.realm, q) }, nil
}

func parseList(n *node) (*listQuery, *Error) {
	if err := n.only(append([]string{"client_reference_id", "status"}, pagingParams...)...); err != nil {
		return nil, err
	}
	q := &listQuery{}
	var err *Error
	if q.reference, _, err = n.text("client_reference_id", maxText); err != nil {
		return nil, err
	}
	if q.status, _, err = n.oneOf("status", statusRequiresInput, statusProcessing, statusVerified, statusCanceled); err != nil {
		return nil, err
	}
	q.paging, err = parsePaging(n)
	return q, err
}

func parsePaging(n *node) (paging, *Error) {
	p := paging{limit: defaultListLimit}
	var err *Error
	if p.startingAfter, _, err = n.text("starting_after", maxText); err != nil {
		return p, err
	}
	if p.endingBefore, _, err = n.text("ending_before", maxText); err != nil {
		return p, err
	}
	if p.startingAfter != "" && p.endingBefore != "" {
		return p, errParam("ending_before", "You may only specify one of these parameters: starting_after, ending_before.")
	}
	limit, ok, err := n.integer("limit")
	if err != nil {
		return p, err
	}
	if ok {
		if limit < 1 || limit > maxListLimit {
			return p, errParam("limit", "This value must be from 1 to "+strconv.Itoa(maxListLimit)+".")
		}
		p.limit = int(limit)
	}
	p.created, err = parseCreated(n)
	return p, err
}

// parseCreated reads created=T or created[gt|gte|lt|lte]=T.
func parseCreated(n *node) ([]func(int64) bool, *Error) {
	child := n.children["created"]
	if child == nil {
		return nil, nil
	}
	if child.values != nil {
		at, _, err := n.integer("created")
		return []func(int64) bool{func(t int64) bool { return t == at }}, err
	}
	if err := child.only("gt", "gte", "lt", "lte"); err != nil {
		return nil, err
	}
	var out []func(int64) bool
	for name, compare := range map[string]func(t, bound int64) bool{
		"gt":  func(t, b int64) bool { return t > b },
		"gte": func(t, b int64) bool { return t >= b },
		"lt":  func(t, b int64) bool { return t < b },
		"lte": func(t, b int64) bool { return t <= b },
	} {
		bound, ok, err := child.integer(name)
		if err != nil {
			return nil, err
		}
		if ok {
			out = append(out, func(t int64) bool { return compare(t, bound) })
		}
	}
	return out, nil
}

// list needs s.mu. A filter by reference is an index lookup; the others read from the cursor on.
// Items of a list have no links. To get a link, retrieve the session.
func (s *Sim) list(in realm, q *listQuery) (any, *Error) {
	source := s.realms[in]
	if q.reference != "" {
		source = s.refs[refKey{in, q.reference}]
	}
	if source == nil {
		source = &sessionList{}
	}
	from, step := len(source.all)-1, -1
	if q.startingAfter != "" {
		cursor, err := s.cursor(in, "starting_after", q.startingAfter)
		if err != nil {
			return nil, err
		}
		from = source.after(cursor.pos-1) - 1
	}
	if q.endingBefore != "" {
		cursor, err := s.cursor(in, "ending_before", q.endingBefore)
		if err != nil {
			return nil, err
		}
		from, step = source.after(cursor.pos), +1
	}
	page := listObject{Object: "list", Data: []sessionObject{}, URL: sessionsPath}
	for i := from; i >= 0 && i < len(source.all); i += step {
		if !q.matches(source.all[i]) {
			continue
		}
		if len(page.Data) == q.limit {
			page.HasMore = true
			break
		}
		page.Data = append(page.Data, s.render(source.all[i], false))
	}
	if step > 0 {
		slices.Reverse(page.Data)
	}
	return page, nil
}

func (s *Sim) cursor(in realm, param, id string) (*session, *Error) {
	sess, err := s.find(in, id)
	if err != nil {
		err.HTTPStatus, err.Param = http.StatusBadRequest, param
	}
	return sess, err
}

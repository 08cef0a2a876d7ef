package stripesim

import (
	"math"
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
	reference, status               string
	relatedCustomer, relatedAccount string
}

// paging has the parameters that all lists share.
type paging struct {
	startingAfter, endingBefore string
	limit                       int
	from, to                    int64 // of created, both included
}

var pagingParams = []string{"created", "limit", "starting_after", "ending_before"}

func (p *paging) within(created int64) bool { return created >= p.from && created <= p.to }

func (q *listQuery) matches(sess *session) bool {
	return (q.status == "" || sess.status == q.status) && (q.relatedCustomer == "" || sess.relatedCustomer == q.relatedCustomer) &&
		(q.relatedAccount == "" || sess.relatedAccount == q.relatedAccount)
}

func listSessions(s *Sim, c call) (operation, *Error) {
	q, err := parseList(c.params)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) { return s.list(c.realm, q) }, nil
}

func parseList(n *node) (*listQuery, *Error) {
	if err := n.only(append([]string{"client_reference_id", "related_customer", "related_customer_account", "status"}, pagingParams...)...); err != nil {
		return nil, err
	}
	q := &listQuery{}
	var err *Error
	for name, into := range map[string]*string{
		"client_reference_id": &q.reference, "related_customer": &q.relatedCustomer, "related_customer_account": &q.relatedAccount,
	} {
		if *into, _, err = n.text(name, maxText); err != nil {
			return nil, err
		}
	}
	if q.status, _, err = n.oneOf("status", statusRequiresInput, statusProcessing, statusVerified, statusCanceled); err != nil {
		return nil, err
	}
	q.paging, err = parsePaging(n)
	return q, err
}

func parsePaging(n *node) (paging, *Error) {
	p := paging{limit: defaultListLimit, from: math.MinInt64, to: math.MaxInt64}
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
	return p, p.parseCreated(n)
}

// parseCreated reads created=T or created[gt|gte|lt|lte]=T.
func (p *paging) parseCreated(n *node) *Error {
	child := n.children["created"]
	if child == nil {
		return nil
	}
	if child.values != nil {
		at, _, err := n.integer("created")
		p.from, p.to = at, at
		return err
	}
	if err := child.only("gt", "gte", "lt", "lte"); err != nil {
		return err
	}
	for _, bound := range []struct {
		name  string
		step  int64 // from the bound to the first second that it includes
		lower bool
	}{{"gt", 1, true}, {"gte", 0, true}, {"lt", -1, false}, {"lte", 0, false}} {
		at, ok, err := child.integer(bound.name)
		switch {
		case err != nil:
			return err
		case ok && bound.lower:
			p.from = max(p.from, at+bound.step)
		case ok:
			p.to = min(p.to, at+bound.step)
		}
	}
	return nil
}

// list needs s.mu. Filters by reference and by time are index lookups. The others read from there on.
// Items of a list have no links. To get a link, retrieve the session.
func (s *Sim) list(in realm, q *listQuery) (any, *Error) {
	source := s.realms[in]
	if q.reference != "" {
		source = s.refs[refKey{in, q.reference}]
	}
	if source == nil {
		source = &sessionList{}
	}
	// The page is a part of source from first to last, the newest first, or for ending_before the oldest.
	first, last := source.before(q.from, 0), len(source.all)-1
	if q.to < math.MaxInt64 {
		last = source.before(q.to+1, 0) - 1
	}
	from, step := last, -1
	if q.startingAfter != "" {
		cursor, err := s.cursor(in, "starting_after", q.startingAfter)
		if err != nil {
			return nil, err
		}
		from = min(last, source.before(cursor.created, cursor.seq)-1)
	}
	if q.endingBefore != "" {
		cursor, err := s.cursor(in, "ending_before", q.endingBefore)
		if err != nil {
			return nil, err
		}
		from, step = max(first, source.before(cursor.created, cursor.seq+1)), +1
	}
	page := listObject{Object: "list", Data: []sessionObject{}, URL: sessionsPath}
	for i := from; i >= first && i <= last; i += step {
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

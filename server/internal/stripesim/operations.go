package stripesim

func createSession(s *Sim, c call) (operation, *Error) {
	p, err := parseCreate(c.params)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		sess, err := s.create(c.realm, p, c.cause)
		if err != nil {
			return nil, err
		}
		return s.render(sess, true), nil
	}, nil
}

// retrieveSession is also how a retry works at Stripe: each read makes a new link and secret.
func retrieveSession(s *Sim, c call) (operation, *Error) {
	expanded, err := parseExpand(c.params)
	if err != nil {
		return nil, err
	}
	return func() (any, *Error) {
		sess, err := s.find(c.realm, c.id)
		if err != nil {
			return nil, err
		}
		if err := s.mayExpand(c.key, c.realm, sess, expanded); err != nil {
			return nil, err
		}
		object := s.render(sess, true)
		if len(expanded) > 0 {
			object.VerifiedOutputs = sess.renderOutputs(expanded)
		}
		return object, nil
	}, nil
}

func updateSession(s *Sim, c call) (operation, *Error) {
	u, err := parseUpdate(c.params)
	if err != nil {
		return nil, err
	}
	return s.onSession(c, func(sess *session) *Error { return s.update(sess, u) }), nil
}

func cancelSession(s *Sim, c call) (operation, *Error) {
	if err := c.params.only(); err != nil {
		return nil, err
	}
	return s.onSession(c, func(sess *session) *Error { return s.cancel(sess, c.cause) }), nil
}

func redactSession(s *Sim, c call) (operation, *Error) {
	if err := c.params.only(); err != nil {
		return nil, err
	}
	return s.onSession(c, func(sess *session) *Error { return s.redact(sess, c.cause) }), nil
}

// onSession finds the session, changes it and shows it.
func (s *Sim) onSession(c call, change func(*session) *Error) operation {
	return func() (any, *Error) {
		sess, err := s.find(c.realm, c.id)
		if err != nil {
			return nil, err
		}
		if err := change(sess); err != nil {
			return nil, err
		}
		return s.render(sess, true), nil
	}
}

package stripesim

import "time"

// ephemeralKeyLife is how long the key of a mobile app is valid.
const ephemeralKeyLife = time.Hour

// ephemeralKey gives a mobile app access to one session. Its secret is in the answer to its creation and nowhere else.
type ephemeralKey struct {
	ID                string             `json:"id"`
	Object            string             `json:"object"`
	AssociatedObjects []associatedObject `json:"associated_objects"`
	Created           int64              `json:"created"`
	Expires           int64              `json:"expires"`
	Livemode          bool               `json:"livemode"`
	Secret            string             `json:"secret"`
}

type associatedObject struct {
	ID   string `json:"id"`
	Type string `json:"type"`
}

// createEphemeralKey makes a key for a session. The version is the app's, so a request must name one.
func createEphemeralKey(s *Sim, c call) (operation, *Error) {
	if err := c.params.only("verification_session"); err != nil {
		return nil, err
	}
	id, ok, err := c.params.text("verification_session", maxText)
	switch {
	case err != nil:
		return nil, err
	case !ok || id == "":
		return nil, errMissing("verification_session")
	case !apiVersionPattern.MatchString(c.version):
		return nil, errBad("", "", "Please provide a Stripe-Version header: a version of the API that the mobile SDK understands.")
	}
	return func() (any, *Error) {
		sess, err := s.find(c.realm, id)
		if err != nil {
			err.Param = "verification_session"
			return nil, err
		}
		mode := "test"
		if c.realm.live {
			mode = "live"
		}
		created := s.now().Unix()
		return ephemeralKey{ID: s.newID("ephkey_", 24), Object: "ephemeral_key",
			AssociatedObjects: []associatedObject{{sess.id, "identity.verification_session"}}, Created: created,
			Expires: created + int64(ephemeralKeyLife.Seconds()), Livemode: c.realm.live, Secret: s.newID("ek_"+mode+"_", 60)}, nil
	}, nil
}

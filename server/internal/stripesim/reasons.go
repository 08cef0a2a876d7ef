package stripesim

// errorCode is a last_error.code with its sentence for last_error.reason.
type errorCode struct{ code, reason string }

// errorGroup is a kind of failure, as Stripe's documentation groups them.
type errorGroup struct {
	title string
	codes []errorCode
}

// errorGroups holds all 19 codes of Stripe's enum and address_mismatch, which Stripe documents but
// has in no enum. abandoned comes first in its group: it is the one without a submission.
// https://docs.stripe.com/identity/handle-verification-outcomes
var errorGroups = []errorGroup{
	{"Session", []errorCode{
		{OutcomeAbandoned, "The verification was started but nothing was submitted."},
		{"consent_declined", "Consent to the verification was declined."},
		{"country_not_supported", "Documents from this country are not supported."},
		{"device_not_supported", "The device has no usable camera."},
		{"under_supported_age", "The person is below the supported age."},
	}},
	{"Document", []errorCode{
		{"document_expired", "The document is expired."},
		{"document_type_not_supported", "This type of document is not accepted."},
		{"document_unverified_other", "The document could not be verified."},
	}},
	{"ID number", []errorCode{
		{"id_number_insufficient_document_data", "The document does not show enough to check the ID number."},
		{"id_number_mismatch", "The ID number does not match the name and date of birth."},
		{"id_number_unverified_other", "The ID number could not be verified."},
	}},
	{"Selfie", []errorCode{
		{"selfie_document_missing_photo", "The document has no photo to compare the selfie with."},
		{"selfie_face_mismatch", "The selfie does not match the photo on the document."},
		{"selfie_manipulated", "The selfie appears to be manipulated."},
		{"selfie_unverified_other", "The selfie could not be verified."},
	}},
	{"Email", []errorCode{
		{"email_unverified_other", "The email address could not be verified."},
		{"email_verification_declined", "Verification of the email address was declined."},
	}},
	{"Phone", []errorCode{
		{"phone_unverified_other", "The phone number could not be verified."},
		{"phone_verification_declined", "Verification of the phone number was declined."},
	}},
	{"Address", []errorCode{
		{"address_mismatch", "The address does not match any record of this person."},
	}},
}

// reasonFor returns the sentence of a code. Codes that Stripe does not have get a general sentence.
func reasonFor(code string) string {
	for _, g := range errorGroups {
		for _, c := range g.codes {
			if c.code == code {
				return c.reason
			}
		}
	}
	return "The verification failed."
}

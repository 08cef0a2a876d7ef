package stripesim

import "net/http"

const (
	typeInvalidRequest = "invalid_request_error"
	typeIdempotency    = "idempotency_error"
)

// Error is one of Stripe's error answers: the "error" member of its body, and the HTTP status.
type Error struct {
	HTTPStatus int    `json:"-"`
	Code       string `json:"code,omitempty"`
	Message    string `json:"message"`
	Param      string `json:"param,omitempty"`
	Type       string `json:"type"`
}

// Error returns the message.
func (e *Error) Error() string { return "stripesim: " + e.Message }

func errBad(code, param, message string) *Error {
	return &Error{HTTPStatus: http.StatusBadRequest, Type: typeInvalidRequest, Code: code, Param: param, Message: message}
}

func errParam(param, message string) *Error { return errBad("parameter_invalid", param, message) }

func errMissing(param string) *Error {
	return errBad("parameter_missing", param, "Missing required param: "+param+".")
}

func errUnknown(param string) *Error {
	return errBad("parameter_unknown", param, "Received unknown parameter: "+param)
}

// errStatus is a refusal because of the session's state. Stripe's answers, as measured, have no code.
func errStatus(message string) *Error { return errBad("", "", message) }

func errNoKey() *Error {
	return &Error{HTTPStatus: http.StatusUnauthorized, Type: typeInvalidRequest,
		Message: "You did not provide an API key. Send it in the Authorization header, as Bearer token or as the user name of Basic auth."}
}

func errWrongKey() *Error {
	return &Error{HTTPStatus: http.StatusUnauthorized, Type: typeInvalidRequest, Message: "Invalid API Key provided."}
}

func errNoRoute(method, path string) *Error {
	return &Error{HTTPStatus: http.StatusNotFound, Type: typeInvalidRequest,
		Message: "Unrecognized request URL (" + method + ": " + path + ")."}
}

func errTooLarge() *Error {
	return &Error{HTTPStatus: http.StatusRequestEntityTooLarge, Type: typeInvalidRequest, Message: "The request body is too large."}
}

func errKeyReused() *Error {
	return &Error{HTTPStatus: http.StatusBadRequest, Type: typeIdempotency,
		Message: "Keys for idempotent requests can only be used with the same parameters they were first used with."}
}

func errKeyInUse() *Error {
	return &Error{HTTPStatus: http.StatusConflict, Type: typeInvalidRequest, Code: "idempotency_key_in_use",
		Message: "There is currently another in-progress request using this Idempotent Key. Try again later."}
}

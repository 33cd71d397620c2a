// Package wire is the form of the API's requests and answers: errors, bounded bodies, pages, dates, identifiers.
package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Error is an answer that is an error in the platform's form.
type Error struct {
	Status     int
	Text       string
	RetryAfter int // seconds, 0 = no such header
}

// Error returns the platform's text with its status.
func (e *Error) Error() string { return fmt.Sprintf("%d %s", e.Status, e.Text) }

// Errorf makes an error of a status.
func Errorf(status int, format string, args ...any) *Error {
	return &Error{Status: status, Text: fmt.Sprintf(format, args...)}
}

// BadRequest makes an error 400.
func BadRequest(format string, args ...any) *Error {
	return Errorf(http.StatusBadRequest, format, args...)
}

// NotFound makes an error 404.
func NotFound(format string, args ...any) *Error {
	return Errorf(http.StatusNotFound, format, args...)
}

// ErrorBody is the body of an error.
func ErrorBody(status int, text string) []byte {
	body, err := json.Marshal(struct {
		Error  string `json:"error"`
		Status int    `json:"status"`
	}{text, status})
	if err != nil { // a string and an int always marshal
		panic(err)
	}
	return body
}

// maxDepth bounds the nesting of a request's JSON. The deepest real body has 4 levels.
const maxDepth = 32

var errTooDeep = errors.New("nested too deeply")

// Decode reads a JSON object into v; unknown fields are ignored, as the platform does. What it says of a body that it
// can not read is unknown; the texts are ours.
func Decode(body []byte, v any) *Error {
	if len(bytes.TrimSpace(body)) == 0 {
		body = []byte("{}")
	}
	if err := checkDepth(body); err != nil {
		return BadRequest("Invalid JSON: %v", err)
	}
	if err := json.Unmarshal(body, v); err != nil {
		wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
		switch {
		case ok && wrong.Field == "":
			return BadRequest("Invalid JSON: it must be an object.")
		case ok:
			return BadRequest("Invalid value for %s.", wrong.Field)
		}
		return BadRequest("Invalid JSON: %v", err)
	}
	return nil
}

func checkDepth(body []byte) error {
	depth, inString, escaped := 0, false, false
	for _, c := range body {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped = c == '\\'
			inString = c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return errTooDeep
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}

// Time is how the platform writes dates.
func Time(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05+00:00") }

package vultr

import (
	"encoding/json"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxMessage bounds what is kept of an answer that is not the API's: a proxy's error page says little after that.
const maxMessage = 200

// judge turns an answer into the typed error, or nil if it is a good one.
func (t *transport) judge(rec *record, resp *http.Response, data []byte) *Error {
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		message, ours := t.message(data)
		e := rec.fail(resp.StatusCode, message, nil)
		e.foreign = !ours
		e.RetryAfter = retryAfter(resp.Header.Get("Retry-After"), time.Now())
		return e
	}
	if !rec.wantsBody || len(data) == 0 {
		return nil
	}
	kind := resp.Header.Get("Content-Type")
	if media, _, err := mime.ParseMediaType(kind); err == nil && media == "application/json" {
		return nil
	}
	message, _ := t.message(data)
	return rec.fail(resp.StatusCode, "the answer is not JSON but "+t.redact.text(strconv.Quote(kind))+": "+message, nil)
}

// message returns the API's text for a failure, or what else was answered and false.
func (t *transport) message(data []byte) (text string, ours bool) {
	var body struct {
		Error   string `json:"error"`
		Message string `json:"message"`
	}
	if json.Unmarshal(data, &body) == nil {
		text = orDefault(body.Error, body.Message)
	}
	ours = text != ""
	if !ours {
		text = string(data)
	}
	// Redact before cutting, so that no half of a secret is left at the end.
	text = strings.Join(strings.Fields(t.redact.text(text)), " ")
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "..."
	}
	return text, ours
}

// retryAfter reads the header in both of its forms; 0 when it says nothing useful.
func retryAfter(header string, now time.Time) time.Duration {
	if header == "" {
		return 0
	}
	if seconds, err := strconv.ParseInt(header, 10, 32); err == nil {
		return max(0, time.Duration(seconds)*time.Second)
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}

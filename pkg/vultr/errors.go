package vultr

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Error is a failed call of the API.
type Error struct {
	// Op is what was tried, in words: "attach block storage".
	Op string
	// Resource is the ID or the name that the call was about, "" for lists.
	Resource string
	// Status is the HTTP status, 0 when no answer came.
	Status int
	// Message is the API's text (the "error" field), or a short form of a body that was not the API's JSON.
	Message string
	// RetryAfter is what a 429 or 503 asked for, 0 when it asked for nothing.
	RetryAfter time.Duration
	// Unknown is set when a write may have taken effect although it failed: no answer, or a 5xx.
	Unknown bool
	// Err is the cause when no answer came; a cancelled context is found through it.
	Err error
	// foreign is set when the answer does not have the form of the API's errors: something in between gave it.
	foreign bool
}

// Error says what was tried, on what, and what the API said.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Resource != "" {
		b.WriteString(" " + e.Resource)
	}
	switch {
	case e.Status != 0 && e.Message != "":
		fmt.Fprintf(&b, ": the Vultr API answered %d: %s", e.Status, e.Message)
	case e.Status != 0:
		fmt.Fprintf(&b, ": the Vultr API answered %d %s", e.Status, http.StatusText(e.Status))
	case isUnsent(e.Err):
		fmt.Fprintf(&b, ": %v", e.Err)
	case e.Err != nil:
		fmt.Fprintf(&b, ": no answer from the Vultr API: %v", e.Err)
	}
	if e.Unknown {
		b.WriteString(" (the outcome is unknown)")
	}
	return b.String()
}

func isUnsent(err error) bool {
	_, ok := errors.AsType[*unsentError](err)
	return ok
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrSettling is returned instead of a create while a list cannot yet prove that an earlier one made nothing.
var ErrSettling = errors.New("an earlier create may still become visible")

// IsNotFound tells that the API answered 404 for the very resource asked for: it does not exist.
// A missing route ("Not found."), a refused key or the page of a proxy is not that.
//
// The answer to a delete that is repeated after a lost answer or a 5xx is this, with IsOutcomeUnknown: an earlier attempt of
// the call deleted it, or this answer is one more that went wrong. Whoever must know has to look.
func IsNotFound(err error) bool {
	e, ok := errors.AsType[*Error](err)
	// An unknown route answers 404 with this text (terraform-provider-vultr issue 753): it says nothing of a resource.
	return ok && e.Status == http.StatusNotFound && !e.foreign && e.Message != "Not found."
}

// IsRateLimited tells that the API refused the call for its rate.
func IsRateLimited(err error) bool { return hasStatus(err, http.StatusTooManyRequests) }

// IsUnauthorized tells that the key or its source address was refused (401) or lacks a permission (403).
func IsUnauthorized(err error) bool {
	return hasStatus(err, http.StatusUnauthorized, http.StatusForbidden)
}

// IsKeyRefused reports whether the API does not accept the key (401): a wrong one, or one whose access list lacks the
// address that the call came from. A key that lacks one permission (403) is accepted, and so is one that something in
// between never let through to the API.
func IsKeyRefused(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusUnauthorized && !e.foreign
}

// IsAddressRefused reports whether the key's access list lacks the address that the call came from
// ("Unauthorized IP address: 203.0.113.9", several public reports of 2025 and 2026). It implies IsKeyRefused.
func IsAddressRefused(err error) bool {
	return IsKeyRefused(err) && says(err, "unauthorized ip address")
}

// IsForbidden reports whether the API accepted the key but not for this call (403): its owner lacks the right.
func IsForbidden(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == http.StatusForbidden && !e.foreign
}

// IsInvalid tells that the API refused the request's content; repeating it unchanged is of no use.
func IsInvalid(err error) bool {
	return hasStatus(err, http.StatusBadRequest, http.StatusUnprocessableEntity)
}

// IsOutcomeUnknown tells that a write may have taken effect although it failed. Look before doing it again.
func IsOutcomeUnknown(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Unknown
}

// IsLocked tells that the instance is busy and refuses changes for now ("Server is currently locked", vultr-csi all versions).
func IsLocked(err error) bool { return says(err, "currently locked") }

// IsAlreadyAttached tells that the volume is attached to some instance (text from older vultr-csi, terraform-provider-vultr).
func IsAlreadyAttached(err error) bool { return says(err, "already attached to") }

// IsNotAttached tells that there was nothing to detach, or no attachment to read: of a volume (vultr-csi all versions)
// or of a file system ("Attachment Not Found", vultr-csi 0.18).
func IsNotAttached(err error) bool {
	return says(err, "not currently attached") || says(err, "attachment not found")
}

// IsInUse tells that something is still attached, or was until a moment ago, and keeps the resource from being deleted:
// a file system ("until it is ... from all machines", terraform-provider-vultr) or a VPC ("The following servers
// are attached to this VPC network", "VPC is attached to", terraform-provider-vultr issue 355).
func IsInUse(err error) bool {
	const platformSpelling = "detatched from all" //nolint:misspell // the platform's
	return says(err, platformSpelling) || says(err, "detached from all") ||
		says(err, "attached to this vpc") || says(err, "vpc is attached to")
}

// IsPrivateMemory reports whether an instance was refused a file system because its memory is not shared with its host:
// it is of an older plan and has to be redeployed. The platform's documents call that "Memory Backing"; the text of the
// refusal is unknown.
func IsPrivateMemory(err error) bool { return says(err, "memory") }

// IsLimit reports whether the API refused the call because something has reached its number. The text for volumes of an
// instance is unknown; that for instances of an account speaks of the "maximum number" (terraform-provider-vultr).
func IsLimit(err error) bool {
	return says(err, "maximum number") || says(err, "limit") && !IsRateLimited(err)
}

// IsDuplicateRule tells that a firewall group has the rule already (ingvarch/tent).
func IsDuplicateRule(err error) bool { return says(err, "already defined") }

// IsNothingToChange tells that a change had no effect because it asked for what is (terraform-provider-vultr issue 660).
func IsNothingToChange(err error) bool { return says(err, "nothing to change") }

// IsNotReady tells that a load balancer is not settled enough for the call: a delete ("Load balancer is not ready.",
// terraform-provider-vultr) or an update while its nodes activate (vultr-cloud-controller-manager isLBActivating).
func IsNotReady(err error) bool {
	return says(err, "load balancer is not ready") || says(err, "activating") || says(err, "activation in progress")
}

// IsConflict tells that the resource's present state refuses the call; it may be accepted later.
func IsConflict(err error) bool {
	return hasStatus(err, http.StatusConflict) || IsLocked(err) || IsNotReady(err) || IsInUse(err)
}

func hasStatus(err error, statuses ...int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && slices.Contains(statuses, e.Status)
}

// says matches the few texts that carry meaning, in 4xx answers only: a proxy's error page may say anything.
func says(err error, text string) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status >= 400 && e.Status < 500 && strings.Contains(strings.ToLower(e.Message), text)
}

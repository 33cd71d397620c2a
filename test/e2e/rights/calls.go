// Package rights compares what roles grant with what programs ask the apiserver for, by its audit log. It only computes.
package rights

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Call is a request to the apiserver.
type Call struct {
	// User is who asked, and Program what it calls itself, without its version.
	User, Program string
	Verb          string
	// Group, Resource, Namespace and Name say what it is about. A subresource follows the resource after a slash.
	Group, Resource, Namespace, Name string
	// Path is set instead of these for a non-resource URL.
	Path string
	// Code is the answer's status, and Denied is set if the rights of the user were not enough. There are other reasons for a 403: an
	// object in a namespace that is being deleted.
	Code   int
	Denied bool
}

// String says who asked for what.
func (c Call) String() string {
	text := c.User + " (" + c.Program + "): " + c.Verb + " " + c.Path + qualified(c.Group, c.Resource)
	if c.Name != "" {
		text += " " + c.Name
	}
	if c.Namespace != "" {
		text += " in " + c.Namespace
	}
	return text
}

// qualified is a resource as kubectl writes it: volumeattachments.storage.k8s.io/status.
func qualified(group, resource string) string {
	if group == "" {
		return resource
	}
	name, subresource, has := strings.Cut(resource, "/")
	if has {
		subresource = "/" + subresource
	}
	return name + "." + group + subresource
}

// The annotation by which the apiserver says what came of the question whether somebody may.
const (
	decision  = "authorization.k8s.io/decision"
	forbidden = "forbid"
)

// event has the fields of audit.k8s.io/v1's Event that are used.
type event struct {
	RequestURI string `json:"requestURI"`
	Verb       string `json:"verb"`
	User       struct {
		Username string `json:"username"`
	} `json:"user"`
	UserAgent string `json:"userAgent"`
	ObjectRef *struct {
		Resource    string `json:"resource"`
		Namespace   string `json:"namespace"`
		Name        string `json:"name"`
		APIGroup    string `json:"apiGroup"`
		Subresource string `json:"subresource"`
	} `json:"objectRef"`
	ResponseStatus struct {
		Code int `json:"code"`
	} `json:"responseStatus"`
	Annotations map[string]string `json:"annotations"`
}

func (e *event) call() Call {
	c := Call{User: e.User.Username, Verb: e.Verb, Code: e.ResponseStatus.Code, Denied: e.Annotations[decision] == forbidden}
	c.Program, _, _ = strings.Cut(e.UserAgent, "/")
	about := e.ObjectRef
	if about == nil {
		c.Path, _, _ = strings.Cut(e.RequestURI, "?")
		return c
	}
	c.Group, c.Resource, c.Namespace, c.Name = about.APIGroup, about.Resource, about.Namespace, about.Name
	if about.Subresource != "" {
		c.Resource += "/" + about.Subresource
	}
	return c
}

// Read reads an audit log, of JSON lines, that may still be written to: what there is of a line that has no end yet is left out.
// The calls are in the order of the log; one that goes on for long, as a watch, may be there twice.
func Read(log io.Reader) ([]Call, error) {
	var calls []Call
	reader := bufio.NewReader(log)
	for n := 1; ; n++ {
		line, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return calls, nil
		}
		if err != nil {
			return calls, err
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			return calls, fmt.Errorf("line %d of the audit log: %w", n, err)
		}
		calls = append(calls, e.call())
	}
}

// Denied lists the calls for which somebody's rights were not enough, each once, with how often it was made.
func Denied(calls []Call) []string {
	times := map[Call]int{}
	for _, c := range calls {
		if c.Denied {
			times[c]++
		}
	}
	lines := make([]string, 0, len(times))
	for c, n := range times {
		lines = append(lines, fmt.Sprintf("%s, %d times", c, n))
	}
	slices.Sort(lines)
	return lines
}

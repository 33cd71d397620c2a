package kubeapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

const (
	// watchFor is how long a watch goes on before the apiserver ends it; then it is begun again.
	watchFor = 5 * time.Minute
	// watchGrace is how much longer an end is waited for, should the connection be dead.
	watchGrace = 30 * time.Second
)

// Event is one change that a watch tells.
type Event[T any] struct {
	Type   string `json:"type"`
	Object T      `json:"object"`
}

// Watch calls each for every event from the resource version on, until the API server ends the watch, for which it returns nil,
// or something fails. path is that of the list.
func Watch[T any](ctx context.Context, c *Client, path, version string, each func(Event[T]) error) error {
	ctx, cancel := context.WithTimeout(ctx, watchFor+watchGrace)
	defer cancel()
	query := "?watch=1&allowWatchBookmarks=true&resourceVersion=" + url.QueryEscape(version) + "&timeoutSeconds=" + strconv.Itoa(int(watchFor/time.Second))
	s, err := c.open()
	if err != nil {
		return err
	}
	defer s.close()
	resp, err := s.send(ctx, http.MethodGet, path+query, "", nil)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	decoder := json.NewDecoder(resp.Body)
	for {
		var event Event[json.RawMessage]
		if err := decoder.Decode(&event); errors.Is(err, io.EOF) {
			return ctx.Err() // the server also ends a watch when it sees the client go
		} else if err != nil {
			return fmt.Errorf("watching %s: %w", path, err)
		}
		if event.Type == "ERROR" {
			return watchError(path, event.Object)
		}
		typed := Event[T]{Type: event.Type}
		if err := json.Unmarshal(event.Object, &typed.Object); err != nil {
			return fmt.Errorf("watching %s: %w", path, err)
		}
		if err := each(typed); err != nil {
			return err
		}
	}
}

// watchError is what the apiserver sends in place of an event when it cannot go on.
func watchError(path string, object json.RawMessage) error {
	var status struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
	if err := json.Unmarshal(object, &status); err != nil {
		return fmt.Errorf("watching %s: %w", path, err)
	}
	return &StatusError{Request: "watching " + path, Code: status.Code, Text: strconv.Itoa(status.Code) + ": " + status.Message}
}

// maxPages bounds what an API server whose lists do not end can do.
const maxPages = 1000

// List reads all pages of a list, each with at most limit objects, and returns the resource version from which a watch
// sees everything that is newer. If any part of the list can't be had there is an error, and each was called for a part.
func List[T any](ctx context.Context, c *Client, path string, limit int, each func(T) error) (version string, err error) {
	s, err := c.open()
	if err != nil {
		return "", err
	}
	defer s.close()
	next := ""
	for range maxPages {
		var page struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items []T `json:"items"`
		}
		query := url.Values{"limit": {strconv.Itoa(limit)}}
		if next != "" {
			query.Set("continue", next)
		}
		if err := s.do(ctx, http.MethodGet, path+"?"+query.Encode(), "", nil, &page); err != nil {
			return "", err
		}
		for _, item := range page.Items {
			if err := each(item); err != nil {
				return "", err
			}
		}
		// Every page is of the version of the first one.
		if version = page.Metadata.ResourceVersion; page.Metadata.Continue == "" {
			return version, nil
		}
		next = page.Metadata.Continue
	}
	return "", fmt.Errorf("listing %s: the list does not end", path)
}

// Package qmp speaks QEMU's machine protocol: commands and their answers, and events.
package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Event is something that happened in QEMU.
type Event struct {
	Name string          `json:"event"`
	Data json.RawMessage `json:"data"`
}

// message is whatever QEMU sends.
type message struct {
	Event

	ID     uint64          `json:"id"`
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Class string `json:"class"`
		Desc  string `json:"desc"`
	} `json:"error"`
}

// Client is one connection to QEMU. It is safe for concurrent use.
type Client struct {
	conn io.ReadWriteCloser
	send sync.Mutex // for what is written, one command at a time

	mu      sync.Mutex
	last    uint64
	waiting map[uint64]chan message
	events  []Event
	changed chan struct{} // closed and replaced when there is another event
	ended   error
}

// New takes over a connection, which begins with QEMU's greeting.
func New(ctx context.Context, conn io.ReadWriteCloser) (*Client, error) {
	c := &Client{conn: conn, waiting: map[uint64]chan message{}, changed: make(chan struct{})}
	go c.read()
	return c, c.Do(ctx, "qmp_capabilities", nil, nil)
}

// Close ends the connection, and whatever waits for it.
func (c *Client) Close() error { return c.conn.Close() }

// Do has QEMU carry out a command. result may be nil.
func (c *Client) Do(ctx context.Context, command string, arguments, result any) error {
	answer, id, err := c.expect()
	if err == nil {
		request := map[string]any{"execute": command, "id": id}
		if arguments != nil {
			request["arguments"] = arguments
		}
		c.send.Lock()
		err = json.NewEncoder(c.conn).Encode(request)
		c.send.Unlock()
	}
	if err != nil {
		return fmt.Errorf("QEMU %s: %w", command, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("QEMU %s: %w", command, ctx.Err())
	case m, ok := <-answer:
		switch {
		case !ok:
			return fmt.Errorf("QEMU %s: the connection has ended before the answer", command)
		case m.Error != nil:
			return fmt.Errorf("QEMU %s: %s: %s", command, m.Error.Class, m.Error.Desc)
		case result == nil:
			return nil
		}
		return json.Unmarshal(m.Return, result)
	}
}

// expect returns where the answer to a command with the ID will come.
func (c *Client) expect() (answer chan message, id uint64, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended != nil {
		return nil, 0, c.ended
	}
	c.last++
	answer = make(chan message, 1)
	c.waiting[c.last] = answer
	return answer, c.last, nil
}

// Await returns when an event that matches has happened, be it before the call.
func (c *Client) Await(ctx context.Context, match func(Event) bool) error {
	for seen := 0; ; {
		c.mu.Lock()
		events, changed, ended := c.events[seen:], c.changed, c.ended
		c.mu.Unlock()
		if slices.ContainsFunc(events, match) {
			return nil
		}
		seen += len(events)
		if ended != nil {
			return ended
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// read hands on what comes until the connection ends.
func (c *Client) read() {
	decoder := json.NewDecoder(c.conn)
	for {
		var m message
		err := decoder.Decode(&m)
		c.mu.Lock()
		if err != nil {
			c.end(err)
			c.mu.Unlock()
			return
		}
		if m.Name != "" {
			c.events = append(c.events, m.Event)
			close(c.changed)
			c.changed = make(chan struct{})
		} else if answer := c.waiting[m.ID]; answer != nil {
			delete(c.waiting, m.ID)
			answer <- m
		}
		c.mu.Unlock()
	}
}

// end is called with the lock held.
func (c *Client) end(err error) {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	c.ended = fmt.Errorf("the connection to QEMU has ended: %w", err)
	for id, answer := range c.waiting {
		delete(c.waiting, id)
		close(answer)
	}
	close(c.changed)
	c.changed = make(chan struct{})
}

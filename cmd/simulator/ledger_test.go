package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// object is what a client may say of one that it made: what it was told, and what may have happened unseen.
type object struct {
	kind *resource
	id   string
	// gone: it was told that it is destroyed. doubtful: it asked for that and got no answer.
	gone, doubtful bool
	// told is what the answer to the create said.
	told map[string]any
	// allowed are the values of each field that what it was told leaves open.
	allowed map[string][]any
	// late fields are compared only when everything has settled.
	late map[string]bool
}

// busyClient makes and destroys objects of its own. It is never in doubt of what others did.
type busyClient struct {
	random  *rand.Rand
	api     string
	http    *http.Client
	servers []string // instances that stay
	objects []*object
	answers *atomic.Int64 // how many all clients got
	// buried are the paths of objects that were destroyed and seen to be gone.
	buried map[string]bool
	// wrong is an answer that nobody should get.
	wrong error
}

func (c *busyClient) any(path string) string {
	for _, o := range c.objects {
		if o.kind.path == path && !o.gone && !o.doubtful {
			return o.id
		}
	}
	return ""
}

// server picks an instance to attach something to: one that stays, or one of its own that may go.
func (c *busyClient) server() string {
	all := slices.Clone(c.servers)
	for _, o := range c.objects {
		if o.kind.path == instances && !o.gone && !o.doubtful {
			all = append(all, o.id)
		}
	}
	return all[c.random.IntN(len(all))]
}

// ask sends a request. No answer is an error; a refusal is none, and changed nothing.
func (c *busyClient) ask(method, path string, body any) (accepted bool, answer map[string]any, err error) {
	text, err := json.Marshal(body)
	if err != nil {
		return false, nil, err
	}
	request, err := http.NewRequest(method, c.api+path, bytes.NewReader(text))
	if err != nil {
		return false, nil, err
	}
	request.Header.Set("Authorization", "Bearer test")
	response, err := c.http.Do(request)
	if err != nil {
		return false, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return false, nil, err
	}
	if response.StatusCode >= 500 {
		c.wrong = fmt.Errorf("%s %s: %d %s", method, path, response.StatusCode, raw)
		return false, nil, c.wrong
	}
	c.answers.Add(1)
	if len(raw) > 0 {
		err = json.Unmarshal(raw, &answer)
	}
	return response.StatusCode < 300, answer, err
}

// work goes on until there is no answer.
func (c *busyClient) work() {
	for {
		var err error
		kind := resources[c.random.IntN(len(resources))]
		mine := slices.DeleteFunc(slices.Clone(c.objects), func(o *object) bool { return o.kind != kind || o.gone || o.doubtful })
		switch n := c.random.IntN(10); {
		case len(mine) == 0 || (n < 3 && len(mine) < 4):
			err = c.make(kind)
		case n < 5:
			err = c.destroy(mine[c.random.IntN(len(mine))])
		default:
			err = c.alter(mine[c.random.IntN(len(mine))])
		}
		if err != nil {
			return
		}
	}
}

func (c *busyClient) make(kind *resource) error {
	body, ok := kind.create(c)
	if !ok {
		return nil
	}
	name := fmt.Sprintf("n%d", c.random.IntN(1000))
	wanted := map[string]any{kind.name: name}
	maps.Copy(wanted, body)
	accepted, answer, err := c.ask(http.MethodPost, kind.path, wanted)
	if err != nil || !accepted {
		return err // whether it was made is learned from the next list
	}
	if kind.one != "" {
		answer, _ = answer[kind.one].(map[string]any)
	}
	id, ok := answer["id"].(string)
	if !ok {
		return fmt.Errorf("%s: no ID in %v", kind.path, answer)
	}
	c.objects = append(c.objects, &object{kind: kind, id: id, told: answer, allowed: map[string][]any{kind.name: {name}}, late: map[string]bool{}})
	return nil
}

func (c *busyClient) destroy(o *object) error {
	o.doubtful = true
	if o.kind.path == instances {
		c.mayLose(o.id, false)
	}
	accepted, _, err := c.ask(http.MethodDelete, o.kind.path+"/"+o.id, nil)
	if err != nil {
		return err
	}
	o.gone, o.doubtful = accepted, false
	if accepted && o.kind.path == instances {
		c.mayLose(o.id, true)
	}
	return nil
}

// mayLose notes that an instance takes its attachments along, for sure or perhaps.
func (c *busyClient) mayLose(instance string, sure bool) {
	for _, o := range c.objects {
		for field, values := range o.allowed {
			var without any
			switch {
			case field == attachedTo && slices.Contains(values, any(instance)):
				without = ""
			case field != attachments+instance:
				continue
			}
			if sure && field == attachedTo {
				values = slices.DeleteFunc(slices.Clone(values), func(v any) bool { return v == instance })
			} else if sure {
				values = nil
			}
			o.allowed[field] = append(slices.Clone(values), without)
		}
	}
}

func (c *busyClient) alter(o *object) error {
	n := c.random.IntN(len(o.kind.others) + 1)
	op := operation{field: o.kind.name, request: func(c *busyClient) (map[string]any, any) {
		name := fmt.Sprintf("n%d", c.random.IntN(1000))
		return map[string]any{o.kind.name: name}, name
	}}
	if n > 0 {
		op = o.kind.others[n-1]
	}
	if op.server {
		at := c.server()
		op.path, op.field = op.path+at, op.field+at
	}
	body, value := op.request(c)
	method := cmp.Or(op.method, http.MethodPost)
	if op.path == "" {
		method = o.kind.change
	}
	before := o.allowed[op.field]
	if before == nil {
		before = []any{o.told[op.field]}
	}
	o.late[op.field] = op.late
	o.allowed[op.field] = append(slices.Clone(before), value) // until there is an answer
	accepted, _, err := c.ask(method, o.kind.path+"/"+o.id+op.path, body)
	switch {
	case err != nil:
	case accepted:
		o.allowed[op.field] = []any{value}
	default:
		o.allowed[op.field] = before
	}
	return err
}

// compare demands that everything is as the client was told, and forgets what it was in doubt of: it has seen it now.
// Fields that settle late are compared when everything has.
func (c *busyClient) compare(t *testing.T, there map[string]map[string]any, settled bool) {
	t.Helper()
	if c.wrong != nil {
		t.Error(c.wrong)
	}
	kept := c.objects[:0]
	for _, o := range c.objects {
		now, exists := there[o.kind.path+"/"+o.id]
		switch {
		case exists && (o.gone || o.doubtful) && o.kind.lateGone && !settled:
			kept = append(kept, o) // it may be on its way out
		case exists && o.gone:
			t.Errorf("%s/%s is back, though it was destroyed", o.kind.path, o.id)
		case exists:
			o.compare(t, now, settled)
			o.doubtful = false
			kept = append(kept, o)
		case !o.gone && !o.doubtful:
			t.Errorf("%s/%s is lost, though it was made", o.kind.path, o.id)
		default:
			c.buried[o.kind.path+"/"+o.id] = true
		}
	}
	c.objects = kept
	for path := range c.buried {
		if _, exists := there[path]; exists {
			t.Errorf("%s is back, though it was destroyed and gone", path)
		}
	}
}

func (o *object) compare(t *testing.T, now map[string]any, settled bool) {
	t.Helper()
	for field, values := range o.allowed {
		if o.late[field] && !settled {
			continue
		}
		if !slices.ContainsFunc(values, func(v any) bool { return reflect.DeepEqual(v, now[field]) }) {
			t.Errorf("%s/%s: %s is %v, acknowledged was %v", o.kind.path, o.id, field, now[field], values)
		}
		o.allowed[field] = []any{now[field]}
	}
}

// everything lists all objects of all kinds by path and ID.
func (c *busyClient) everything(t *testing.T) map[string]map[string]any {
	t.Helper()
	there := map[string]map[string]any{}
	for _, kind := range resources {
		for cursor := "?per_page=500"; cursor != ""; {
			_, answer, err := c.ask(http.MethodGet, kind.path+cursor, nil)
			if err != nil {
				t.Fatal(err)
			}
			items, ok := answer[kind.list].([]any)
			if !ok {
				t.Fatalf("%s: %v", kind.path, answer)
			}
			for _, item := range items {
				fields := item.(map[string]any)
				there[kind.path+"/"+fields["id"].(string)] = fields
			}
			cursor = ""
			if meta, ok := answer["meta"].(map[string]any); ok {
				if next, ok := meta["links"].(map[string]any)["next"].(string); ok && next != "" {
					cursor = "?per_page=500&cursor=" + next
				}
			}
		}
	}
	c.addAttachments(t, there)
	return there
}

// addAttachments gives file systems fields that say to which instances they are attached.
func (c *busyClient) addAttachments(t *testing.T, there map[string]map[string]any) {
	t.Helper()
	for path, fields := range there {
		if !strings.HasPrefix(path, fileSystems+"/") {
			continue
		}
		_, answer, err := c.ask(http.MethodGet, path+"/attachments", nil)
		if err != nil {
			t.Fatal(err)
		}
		items, ok := answer["attachments"].([]any)
		if !ok {
			t.Fatalf("%s: %v", path, answer)
		}
		for _, item := range items {
			fields[attachments+item.(map[string]any)["target_id"].(string)] = true
		}
	}
}

// sweep destroys what is there and nobody's: made by a request without an answer. It keeps the cloud small.
func (c *busyClient) sweep(there map[string]map[string]any, known map[string]bool) {
	for path := range there {
		if !known[path] {
			_, _, _ = c.ask(http.MethodDelete, path, nil) // the next time, if it is refused
		}
	}
}

func newBusyClient(seed, stream uint64, servers []string, answers *atomic.Int64) *busyClient {
	return &busyClient{
		random: rand.New(rand.NewPCG(seed, stream)), servers: servers, answers: answers, buried: map[string]bool{},
		http: &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 1}},
	}
}

// moved points the client to the next life of the program.
func (c *busyClient) moved(api string) {
	c.http.CloseIdleConnections()
	c.api = strings.TrimSuffix(api, "/v2")
}

// pause waits for a random time below the bound.
func pause(random *rand.Rand, below time.Duration) {
	time.Sleep(time.Duration(random.Int64N(int64(below)))) // how much work is cut off is left to chance
}

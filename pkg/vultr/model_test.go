package vultr

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// modelSeed repeats one run of the models: go test ./pkg/vultr -run Model -args -seed 17. The seeds are in the names of
// the tests. A seed fixes the faults and the operations; which of several ready goroutines goes first it does not.
var modelSeed = flag.Uint64("seed", 0, "run the model-based tests with this seed only")

const (
	modelRuns = 30
	// modelPage is small, so that lists have many pages.
	modelPage = 5
	// modelLag is how long a new object may be missing from lists, modelSlow how long a request may take. Together they
	// are less than the settle time.
	modelLag, modelSlow = 3 * time.Second, 400 * time.Millisecond
)

// eachSeed runs a model with the same seeds each time, and with some that nobody has tried.
func eachSeed(t *testing.T, run func(t *testing.T, r *modelRandom)) {
	t.Helper()
	seeds := []uint64{*modelSeed}
	if *modelSeed == 0 {
		seeds = nil
		for seed := range uint64(modelRuns) {
			seeds = append(seeds, seed+1, rand.Uint64()>>32+modelRuns)
		}
	}
	for _, seed := range seeds {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { run(t, &modelRandom{r: rand.New(rand.NewPCG(seed, seed))}) })
		})
	}
}

// modelRandom is chance for many goroutines.
type modelRandom struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (m *modelRandom) below(d time.Duration) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Duration(m.r.Int64N(int64(d)))
}

// oneIn is true once in n times.
func (m *modelRandom) oneIn(n int) bool { return m.below(time.Duration(n)) == 0 }

// modelVolume is one volume's whole life.
type modelVolume struct {
	id, label              string
	created, shown, active time.Time
	deleted                time.Time // zero while it lives
}

// modelCloud is a platform that keeps its history, and has every kind of bad weather that the API is known for.
type modelCloud struct {
	random *modelRandom

	mu      sync.Mutex
	volumes []*modelVolume // in the order of their creation
	lists   int
}

// RoundTrip answers after a while: perhaps too late, perhaps not at all, perhaps after the work, perhaps wrongly.
func (m *modelCloud) RoundTrip(req *http.Request) (*http.Response, error) {
	connected(req)
	if err := sleepCtx(req.Context(), m.random.below(modelSlow/2)); err != nil {
		if req.Method == http.MethodPost && m.random.oneIn(2) {
			// Who hung up does not stop what is under way.
			label := postedLabel(req)
			time.AfterFunc(m.random.below(modelSlow/2), func() { m.create(label) })
		}
		return nil, err
	}
	if m.random.oneIn(10) {
		return m.before()
	}
	resp := m.work(req)
	if err := sleepCtx(req.Context(), m.random.below(modelSlow/2)); err != nil {
		return nil, err
	}
	if m.random.oneIn(10) {
		return m.after(resp)
	}
	return resp, nil
}

var errReset = errors.New("connection reset by peer")

// before is bad weather before the work is done.
func (m *modelCloud) before() (*http.Response, error) {
	switch int(m.random.below(4)) {
	case 0:
		resp := refusal(429, "rate limit exceeded")
		resp.Header.Set("Retry-After", "1")
		return resp, nil
	case 1:
		return refusal(503, "down"), nil
	case 2:
		return nil, errReset
	}
	return reply(502, "<html>bad gateway</html>"), nil
}

// after is bad weather after the work was done.
func (m *modelCloud) after(resp *http.Response) (*http.Response, error) {
	switch int(m.random.below(3)) {
	case 0:
		return nil, errReset
	case 1:
		return refusal(504, "gateway timeout"), nil
	}
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	return reply(resp.StatusCode, string(data[:len(data)/2])), nil // cut off
}

func (m *modelCloud) work(req *http.Request) *http.Response {
	id := strings.TrimPrefix(strings.TrimPrefix(req.URL.Path, blocksPath), "/")
	switch {
	case req.Method == http.MethodPost:
		v := m.create(postedLabel(req))
		return reply(202, `{"block":`+v.show()+`}`)
	case id == "":
		return m.list(req.URL.Query().Get("cursor"))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.volumes {
		if v.id == id && v.deleted.IsZero() {
			if req.Method == http.MethodDelete {
				v.deleted = time.Now()
				return reply(204, nil)
			}
			return reply(200, `{"block":`+v.show()+`}`)
		}
	}
	return refusal(404, "Invalid block storage ID.")
}

// postedLabel reads the label out of a request.
func postedLabel(req *http.Request) string {
	data, err := io.ReadAll(req.Body)
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data), `"label":"`)
	label, _, _ := strings.Cut(rest, `"`)
	return label
}

func (m *modelCloud) create(label string) *modelVolume {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	v := &modelVolume{
		id: fmt.Sprintf("%08x-0000-4000-8000-000000000000", len(m.volumes)+1), label: label, created: now,
		shown: now.Add(m.random.below(modelLag)), active: now.Add(m.random.below(10 * time.Second)),
	}
	m.volumes = append(m.volumes, v)
	return v
}

// list gives one page. A cursor names the last object of the page before, as the platform's do. A page now and then
// loses an object that the total counts.
func (m *modelCloud) list(cursor string) *http.Response {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cursor == "" {
		m.lists++
	}
	now := time.Now()
	total, last := 0, cursor
	var page []string
	more := false
	for _, v := range m.volumes {
		if !v.deleted.IsZero() || now.Before(v.shown) {
			continue
		}
		total++
		switch {
		case v.id <= cursor:
		case len(page) == modelPage:
			more = true
		default:
			page, last = append(page, v.show()), v.id
		}
	}
	if !more {
		last = ""
	}
	if len(page) > 1 && (more || cursor != "") && m.random.oneIn(20) {
		page = page[1:]
	}
	return reply(200, fmt.Sprintf(`{"blocks":[%s],"meta":{"total":%d,"links":{"next":%q,"prev":""}}}`, strings.Join(page, ","), total, last))
}

func (v *modelVolume) show() string {
	status := "pending"
	if !time.Now().Before(v.active) {
		status = "active"
	}
	return fmt.Sprintf(`{"id":%q,"label":%q,"status":%q,"region":"ewr","size_gb":10}`, v.id, v.label, status)
}

func sleepCtx(ctx context.Context, d time.Duration) error {
	if !sleepUntil(ctx, time.Now().Add(d)) {
		return ctx.Err()
	}
	return nil
}

// TestModelOfListsAndWaits: whatever the weather, a list began after the question and lacks nothing that was there all
// along, a wait ends with the truth, and a name whose creates lost their answers is made once.
func TestModelOfListsAndWaits(t *testing.T) {
	eachSeed(t, func(t *testing.T, r *modelRandom) {
		m := &modelCloud{random: r}
		c, err := newClient(Config{BaseURL: "http://vultr.test", Key: testKey, StartRate: 1000, MaxRate: 1000}, m)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 3 * modelPage { // lists have several pages from the beginning
			m.create(fmt.Sprintf("old-%d", i))
		}
		guard := NewAttemptGuard(c.SettleTime())
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() { m.ensure(ctx, t, c, guard, fmt.Sprintf("pvc-%d", i)) })
			wg.Go(func() { m.read(ctx, t, c) })
		}
		wg.Wait()
		synctest.Wait()
		m.settled(t, c)
	})
}

// ensure makes one volume as a careful caller does, who is cut off now and then, and in the end deletes some.
func (m *modelCloud) ensure(ctx context.Context, t *testing.T, c *Client, guard *SettleGuard, name string) {
	t.Helper()
	id := "" // once known it is remembered: lists may still lack it
	for ctx.Err() == nil {
		one, cancel := context.WithTimeout(ctx, 3*time.Second+m.random.below(40*time.Second))
		v, err := m.attempt(one, c, guard, name, &id)
		if err == nil && m.random.oneIn(3) {
			if err := c.DeleteVolume(one, v.ID); err == nil || IsNotFound(err) {
				m.checkGone(t, v.ID)
			}
		}
		cancel()
		if err == nil {
			return
		}
		if IsNotFound(err) {
			t.Errorf("%s: a volume that exists was taken for gone: %v", name, err)
		}
	}
}

func (m *modelCloud) attempt(ctx context.Context, c *Client, guard *SettleGuard, name string, id *string) (Volume, error) {
	if *id == "" {
		found, err := Search[Volume]{
			List:   func(ctx context.Context) (List[Volume], error) { return c.Volumes(ctx, 0) },
			Match:  func(v Volume) bool { return v.Label == name },
			Absent: func(began time.Time) error { return guard.Absent(name, began) },
		}.Run(ctx)
		if err != nil {
			return Volume{}, err
		}
		if len(found) == 0 {
			v, err := c.CreateVolume(ctx, VolumeRequest{Label: name, Region: "ewr", SizeGB: 10, Type: HighPerf})
			if IsOutcomeUnknown(err) {
				guard.AttemptEnded(name)
			}
			if err != nil {
				return Volume{}, err
			}
			found = []Volume{v}
		}
		*id = found[0].ID
	}
	return c.WaitVolume(ctx, "create", *id, func(v Volume) (bool, error) { return v.Active(), nil })
}

func (m *modelCloud) checkGone(t *testing.T, id string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, v := range m.volumes {
		if v.id == id && v.deleted.IsZero() {
			t.Errorf("%s was taken for deleted and lives", v.label)
		}
	}
}

// read lists at random times, and holds every list to its promise.
func (m *modelCloud) read(ctx context.Context, t *testing.T, c *Client) {
	t.Helper()
	for range 15 {
		if sleepCtx(ctx, m.random.below(4*time.Second)) != nil {
			return
		}
		var age time.Duration
		if m.random.oneIn(3) {
			age = m.random.below(10 * time.Second)
		}
		one, cancel := context.WithTimeout(ctx, m.random.below(30*time.Second))
		asked := time.Now()
		list, err := c.Volumes(one, age)
		switch ended := one.Err(); {
		case err == nil:
			m.checkList(t, list, asked.Add(-age))
		case errors.Is(err, context.DeadlineExceeded) && ended == nil:
			t.Errorf("the end of another's context is in %v", err)
		}
		cancel()
	}
}

func (m *modelCloud) checkList(t *testing.T, list List[Volume], notBefore time.Time) {
	t.Helper()
	if list.Began.Before(notBefore) {
		t.Errorf("a list of %v before the question", notBefore.Sub(list.Began))
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	held := map[string]bool{}
	for _, v := range list.Items {
		held[v.ID] = true
	}
	// Where one object went and another came while a list was read, their numbers can hide a third that a page lost.
	went, came := false, false
	for _, v := range m.volumes {
		went = went || !v.deleted.IsZero() && !v.deleted.Before(list.Began)
		came = came || !v.shown.Before(list.Began) && v.shown.Before(time.Now())
	}
	for _, v := range m.volumes {
		if v.shown.Before(list.Began) && v.deleted.IsZero() && !held[v.id] && (!went || !came) {
			t.Errorf("a list of %d lacks %s, which was there all along", len(list.Items), v.label)
		}
		if !v.deleted.IsZero() && v.deleted.Before(list.Began) && held[v.id] {
			t.Errorf("a list holds %s, which was gone before it began", v.label)
		}
	}
}

// settled checks what is left when everybody has gone.
func (m *modelCloud) settled(t *testing.T, c *Client) {
	t.Helper()
	made := map[string]int{}
	for _, v := range m.volumes {
		made[v.label]++
	}
	for label, n := range made {
		if n > 1 {
			t.Errorf("%s was made %d times", label, n)
		}
	}
	c.volumes.mu.Lock()
	defer c.volumes.mu.Unlock()
	if c.volumes.running != nil || c.volumes.next != nil || c.waiting.Load() != 0 {
		t.Error("something runs or waits for nobody")
	}
}

// TestModelOfWaitersCost: what the waits cost in calls does not depend on how many wait.
func TestModelOfWaitersCost(t *testing.T) {
	const lasts = 30 * time.Second
	cost := map[int]float64{}
	for _, waiters := range []int{20, 200, 1000} {
		synctest.Test(t, func(t *testing.T) {
			random := &modelRandom{r: rand.New(rand.NewPCG(1, 1))}
			p := newPlatform()
			c := (&cloud{answer: p.answer}).client(t)
			start := time.Now()
			var wg sync.WaitGroup
			for i := range waiters {
				id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", i)
				asked := start.Add(random.below(5 * time.Second))
				p.mu.Lock()
				p.attached[id] = asked.Add(2*time.Second + random.below(lasts))
				p.mu.Unlock()
				wg.Go(func() {
					time.Sleep(time.Until(asked)) // fake time
					if _, err := c.WaitVolume(t.Context(), "attach", id, attachedTo(idB)); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			cost[waiters] = float64(p.lists) / time.Since(start).Seconds()
			if p.gets != 0 {
				t.Errorf("%d direct reads", p.gets)
			}
		})
	}
	t.Logf("lists per second by the number of waiters: %v", cost)
	// The last few of them poll on a finer grid.
	if cost[20] > 2 || cost[200] > 1.1 || cost[1000] > 1.1*cost[200] {
		t.Error("more waiters cost more")
	}
}

package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/faults"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/internal/wire"
)

// verdict is what becomes of a request after one of its faults.
type verdict int

const (
	goOn verdict = iota
	answered
	lost
)

// throughFaults does the work with what the faults do before and after it. It tells false when there is no answer.
func (s *Simulator) throughFaults(ctx context.Context, rt route, hits []*faults.Hit, work func(on *Simulator) answer) (answer, bool) {
	for _, h := range hits {
		if ans, verdict := s.before(ctx, h); verdict != goOn {
			return ans, verdict == answered
		}
	}
	on := s.seenBy(rt, hits)
	ans := work(on)
	for _, h := range hits {
		if h.Rule.Action == faults.Duplicate {
			second := work(on)
			if h.Rule.Answer != faults.AnswerFirst {
				ans = second
			}
		}
	}
	kept := true
	for _, h := range hits {
		kept = s.after(ctx, h, &ans) && kept
	}
	return ans, kept
}

// before is what a fault does to a request that nothing was done for yet.
func (s *Simulator) before(ctx context.Context, h *faults.Hit) (answer, verdict) {
	switch h.Rule.Action {
	case faults.Latency:
		h.Delay()
	case faults.HoldBefore:
		h.Hold()
	case faults.Status:
		if s.keeps(quirkServerErrors) {
			return injected(h.Rule), answered
		}
	case faults.ResetBefore:
		return answer{}, lost
	case faults.Hang:
		h.HoldUntil(ctx.Done())
		return answer{}, lost
	default: // for afterwards
	}
	return answer{}, goOn
}

// after is what a fault does to the answer. It tells false when the answer is lost.
func (s *Simulator) after(ctx context.Context, h *faults.Hit, ans *answer) bool {
	switch h.Rule.Action {
	case faults.HoldAfter:
		h.Hold()
	case faults.StatusAfter:
		*ans = injected(h.Rule)
	case faults.ResetAfter:
		return !s.keeps(quirkLostAnswer)
	case faults.HangAfter:
		h.HoldUntil(ctx.Done())
		return false
	case faults.Truncate:
		ans.truncated = len(ans.body) > 1
	case faults.NotJSON:
		status := ans.status
		*ans = injected(h.Rule)
		if h.Rule.Status == 0 {
			ans.status = status
		}
	default: // is over
	}
	return true
}

// proxyPage is what an overloaded proxy on the way puts in the place of an answer.
const proxyPage = "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center></body></html>"

func injected(r faults.Rule) answer {
	ans := answer{status: r.Status, body: []byte(r.Body), text: "injected", retryAfter: r.RetryAfter, contentType: r.ContentType}
	switch {
	case r.Action == faults.NotJSON && r.Body == "":
		ans.body = []byte(proxyPage)
	case r.Body == "":
		ans.text = http.StatusText(r.Status)
		ans.body = wire.ErrorBody(r.Status, ans.text)
	}
	if ans.contentType == "" && !json.Valid(ans.body) {
		ans.contentType = "text/html"
	}
	return ans
}

// writeHalf promises the whole answer, sends half of it and cuts the connection.
func writeHalf(w http.ResponseWriter, ans answer) {
	w.Header().Set("Content-Length", strconv.Itoa(len(ans.body)))
	w.WriteHeader(ans.status)
	_, err := w.Write(ans.body[:len(ans.body)/2])
	if err == nil {
		_ = http.NewResponseController(w).Flush() // a client that is gone
	}
	panic(http.ErrAbortHandler)
}

// AddFault puts a fault in force and returns its ID.
func (s *Simulator) AddFault(f Fault) (string, error) {
	defer s.news.tell()
	if f.Action == faults.Stale && f.LagMS == 0 {
		return s.faults.Add(f, s.frozen())
	}
	id, err := s.faults.Add(f, nil)
	s.keepThePast()
	return id, err
}

// AddFaults puts a plan in force, all of it or nothing, and writes their IDs into it.
func (s *Simulator) AddFaults(plan []Fault) error {
	if err := checkPlan(plan); err != nil {
		return err
	}
	for i, f := range plan {
		id, err := s.AddFault(f)
		if err != nil {
			for _, added := range plan[:i] {
				s.RemoveFault(added.ID)
			}
			return fmt.Errorf("fault %d: %w", i+1, err)
		}
		plan[i].ID = id
	}
	return nil
}

// ParseFaults reads a fault plan: a JSON list of faults. It refuses names that it does not know, for a condition that is
// not understood would match everything, and lists everything that is wrong.
func ParseFaults(text []byte) ([]Fault, error) {
	var plan []Fault
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&plan); err != nil {
		return nil, fmt.Errorf("the fault plan: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("the fault plan: something follows after the list")
	}
	return plan, checkPlan(plan)
}

func checkPlan(plan []Fault) error {
	var errs []error
	used := map[string]bool{}
	for i, f := range plan {
		if err := f.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("fault %d: %w", i+1, err))
		}
		if used[f.ID] {
			errs = append(errs, fmt.Errorf("fault %d: there is another with the ID %q", i+1, f.ID))
		}
		used[f.ID] = f.ID != ""
	}
	return errors.Join(errs...)
}

// frozen is the cloud as it is now, for reading: nothing in it changes any more.
func (s *Simulator) frozen() *Simulator {
	past := newSimulator(s.cfg)
	past.store = s.store.Fork(past.tables()...)
	s.lendTo(past)
	return past
}

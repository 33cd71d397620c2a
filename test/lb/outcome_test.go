package lb

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/simulator/simtest"
)

// outcome is what becomes of a request at a numbered point.
type outcome struct {
	name string
	// call is what becomes of a call of the API, write of a write to the API server; nil where it can't happen. do has it done.
	call  func(p *process, req *http.Request, do func() (*http.Response, error)) (*http.Response, error)
	write func(p *process, do reaction) (bool, runtime.Object, error)
}

// applies reports whether it can happen to a request of this name.
func (o *outcome) applies(name string) bool {
	if strings.HasPrefix(name, apiserver) {
		return o.write != nil
	}
	return o.call != nil
}

// outcomes are all that there are.
var outcomes = []*outcome{
	{name: "killed before", call: killedBefore, write: writerKilledBefore},
	{name: "killed after", call: killedAfter, write: writerKilledAfter},
	{name: "killed, done later", call: killedDoneLater},
	{name: "answer lost", call: answerLost, write: doneThen(apierrors.NewTimeoutError("injected", 1))},
	{name: "500", call: answered(http.StatusInternalServerError, 0), write: refused(apierrors.NewInternalError(errInjected))},
	{name: "done, then 500", call: doneThen500, write: doneThen(apierrors.NewInternalError(errInjected))},
	{name: "503, Retry-After", call: answered(http.StatusServiceUnavailable, 7), write: refused(apierrors.NewServiceUnavailable("injected"))},
	{name: "429, Retry-After", call: answered(http.StatusTooManyRequests, 3), write: refused(apierrors.NewTooManyRequests("injected", 1))},
	{name: "cut JSON", call: cutOff},
	{name: "hangs", call: hangs},
	{name: "done, then hangs", call: doneThenHangs},
	{name: "conflict", write: refused(apierrors.NewConflict(schema.GroupResource{Resource: "objects"}, "it", errInjected))},
}

var errInjected = errors.New("injected")

func killedBefore(p *process, _ *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
	p.dead.Store(true)
	return nil, errKilled
}

func killedAfter(p *process, _ *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
	_, err := do()
	p.dead.Store(true)
	return nil, errors.Join(errKilled, err)
}

// onTheWay is how long a request is under way whose process is dead.
const onTheWay = 20 * time.Second

// killedDoneLater is a request that is still under way when its process is killed, and another one leads when it arrives.
func killedDoneLater(p *process, _ *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
	p.dead.Store(true)
	go func() {
		time.Sleep(onTheWay) // of fake time
		_, _ = do()          // nobody hears the answer
	}()
	return nil, errKilled
}

func writerKilledBefore(p *process, _ reaction) (bool, runtime.Object, error) {
	p.dead.Store(true)
	return true, nil, errKilled
}

func writerKilledAfter(p *process, do reaction) (bool, runtime.Object, error) {
	_, _, err := do()
	p.dead.Store(true)
	return true, nil, errors.Join(errKilled, err)
}

func answerLost(_ *process, _ *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
	_, err := do()
	return nil, errors.Join(syscall.ECONNRESET, err)
}

// answered is an error in the place of the work.
func answered(status, retryAfter int) func(*process, *http.Request, func() (*http.Response, error)) (*http.Response, error) {
	return func(_ *process, req *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
		simtest.Connected(req)
		return failure(req, status, retryAfter), nil
	}
}

// failure is an answer as the platform writes it.
func failure(req *http.Request, status, retryAfter int) *http.Response {
	body := `{"error":"injected","status":` + strconv.Itoa(status) + `}`
	answer := &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), Request: req,
	}
	if retryAfter > 0 {
		answer.Header.Set("Retry-After", strconv.Itoa(retryAfter))
	}
	return answer
}

func doneThen500(_ *process, req *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
	if _, err := do(); err != nil {
		return nil, err
	}
	return failure(req, http.StatusInternalServerError, 0), nil
}

// cutOff has half of the answer arrive, and of one without a body nothing.
func cutOff(_ *process, _ *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
	answer, err := do()
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(answer.Body)
	if err != nil || len(body) == 0 {
		return nil, errors.Join(syscall.ECONNRESET, err)
	}
	answer.Body = simtest.BrokenOff(body[:len(body)/2])
	return answer, nil
}

// hangs is a request that is never answered, and was not done.
func hangs(_ *process, req *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
	simtest.Connected(req)
	<-req.Context().Done()
	return nil, req.Context().Err()
}

func doneThenHangs(p *process, req *http.Request, do func() (*http.Response, error)) (*http.Response, error) {
	if _, err := do(); err != nil {
		return nil, err
	}
	return hangs(p, req, do)
}

// refused is an error in the place of a write.
func refused(err error) func(*process, reaction) (bool, runtime.Object, error) {
	return func(*process, reaction) (bool, runtime.Object, error) { return true, nil, err }
}

// doneThen is an error in the place of the answer to a write.
func doneThen(failure error) func(*process, reaction) (bool, runtime.Object, error) {
	return func(_ *process, do reaction) (bool, runtime.Object, error) {
		_, _, err := do()
		return true, nil, errors.Join(failure, err)
	}
}

// strike numbers the requests of a script, and is what happens at one of them.
type strike struct {
	mu     sync.Mutex
	armed  bool
	at     int // the number of the request, from 1 on; 0 for none
	how    *outcome
	points []string
	hit    bool
}

// arm begins to count.
func (s *strike) arm(at int, how *outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed, s.at, s.how, s.points, s.hit = true, at, how, nil, false
}

// disarm ends that and returns the names of the requests, and whether the one was among them and could be hit.
func (s *strike) disarm() (points []string, hit bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	return s.points, s.hit
}

// isArmed reports whether a process may be killed at any moment.
func (s *strike) isArmed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.armed
}

// next is called for each request, and returns what becomes of it; nil for nothing special.
func (s *strike) next(name string) *outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.armed {
		return nil
	}
	s.points = append(s.points, name)
	if len(s.points) != s.at || s.how == nil || !s.how.applies(name) {
		return nil
	}
	s.hit = true
	return s.how
}

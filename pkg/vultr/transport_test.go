package vultr

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// call is one API call of each method.
type call struct {
	name   string
	method string
	do     func(ctx context.Context, c *Client) error
}

var callsOfEachMethod = []call{
	{"get", http.MethodGet, func(ctx context.Context, c *Client) error { _, err := c.Volume(ctx, idA); return err }},
	{"patch", http.MethodPatch, func(ctx context.Context, c *Client) error { return c.ResizeVolume(ctx, idA, 20) }},
	{"delete", http.MethodDelete, func(ctx context.Context, c *Client) error { return c.DeleteVolume(ctx, idA) }},
	{"create", http.MethodPost, func(ctx context.Context, c *Client) error {
		_, err := c.CreateVolume(ctx, VolumeRequest{Label: "pvc-1", Region: "ewr", SizeGB: 10, Type: HighPerf})
		return err
	}},
	{"attach", http.MethodPost, func(ctx context.Context, c *Client) error { return c.AttachVolume(ctx, idA, idB) }},
	{"detach", http.MethodPost, func(ctx context.Context, c *Client) error { return c.DetachVolume(ctx, idA) }},
}

// good answers any of them.
func good(r *http.Request) *http.Response {
	if r.Method == http.MethodGet || r.URL.Path == blocksPath {
		return reply(http.StatusAccepted, map[string]any{"block": block(idA, "active", "")})
	}
	return reply(http.StatusNoContent, nil)
}

func TestOneFailureThenSuccess(t *testing.T) {
	reset := errors.New("connection reset by peer")
	failures := []struct {
		name string
		fail func() (*http.Response, error)
		// repeated says which methods go on, unknown what a POST that does not go on says.
		post, others, unknown bool
	}{
		{"429", func() (*http.Response, error) { return refusal(429, "rate limit exceeded"), nil }, true, true, false},
		{"500", func() (*http.Response, error) { return refusal(500, "oops"), nil }, false, true, true},
		{"503", func() (*http.Response, error) { return reply(503, "<html>down</html>"), nil }, false, true, true},
		{"reset", func() (*http.Response, error) { return nil, reset }, false, true, true},
		{"broken body", func() (*http.Response, error) {
			resp := reply(200, "{")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"block"`), failingReader{reset}))
			return resp, nil
		}, false, true, true},
		{"400", func() (*http.Response, error) { return refusal(400, "no"), nil }, false, false, false},
		{"404", func() (*http.Response, error) { return refusal(404, "Invalid block storage ID."), nil }, false, false, false},
		{"403", func() (*http.Response, error) { return refusal(403, "Forbidden"), nil }, false, false, false},
		{"302", func() (*http.Response, error) { return reply(302, nil), nil }, false, false, false},
	}
	for _, f := range failures {
		for _, do := range callsOfEachMethod {
			t.Run(f.name+"/"+do.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := 0
					net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
						n++
						if n == 1 {
							return f.fail()
						}
						return good(r), nil
					}}
					err := do.do(t.Context(), net.client(t))
					repeated := f.others
					if do.method == http.MethodPost {
						repeated = f.post
					}
					if want := map[bool]int{true: 2, false: 1}[repeated]; len(net.requests()) != want {
						t.Errorf("%d requests, want %d", len(net.requests()), want)
					}
					if repeated != (err == nil) {
						t.Errorf("error %v, repeated %v", err, repeated)
					}
					if err != nil && IsOutcomeUnknown(err) != f.unknown {
						t.Errorf("unknown = %v of %v", IsOutcomeUnknown(err), err)
					}
				})
			})
		}
	}
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

func TestPersistentFailureEndsAfterSomeAttempts(t *testing.T) {
	for _, do := range callsOfEachMethod {
		t.Run(do.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				net := &cloud{answer: func(*http.Request) (*http.Response, error) { return refusal(502, "bad gateway"), nil }}
				err := do.do(t.Context(), net.client(t))
				e, ok := errors.AsType[*Error](err)
				if !ok || e.Status != 502 || e.Message != "bad gateway" {
					t.Fatalf("got %v", err)
				}
				if e.Unknown != (do.method != http.MethodGet) {
					t.Errorf("unknown = %v", e.Unknown)
				}
				want := maxAttempts
				if do.method == http.MethodPost {
					want = 1
				}
				if got := len(net.requests()); got != want {
					t.Errorf("%d requests, want %d", got, want)
				}
			})
		})
	}
}

func TestRetryStaysWithinTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(*http.Request) (*http.Response, error) { return refusal(500, "oops"), nil }}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := net.client(t).Volume(ctx, idA)
		if !hasStatus(err, 500) || ctx.Err() != nil {
			t.Errorf("got %v with the deadline at %v: want the API's own error before the deadline", err, ctx.Err())
		}
		if n := len(net.requests()); n < 2 || n >= maxAttempts {
			t.Errorf("%d requests in %v", n, time.Since(start))
		}
	})
}

func TestNothingWasSentIsNotUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{noConnection: true, answer: func(*http.Request) (*http.Response, error) {
			return nil, errors.New("connection refused")
		}}
		c := net.client(t)
		for _, do := range callsOfEachMethod {
			err := do.do(t.Context(), c)
			if err == nil || IsOutcomeUnknown(err) {
				t.Errorf("%s: got %v, want an error with a known outcome", do.name, err)
			}
		}
	})
}

func TestCancelledWhileTheAPIWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		c := net.client(t)
		for _, do := range callsOfEachMethod {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			err := do.do(ctx, c)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: the end of the context is not found in %v", do.name, err)
			}
			if IsOutcomeUnknown(err) != (do.method != http.MethodGet) {
				t.Errorf("%s: unknown = %v", do.name, IsOutcomeUnknown(err))
			}
		}
	})
}

// TestCutOffSaysWhatWasBefore: the caller's time ends during the second attempt. The error says that, and what the first one
// came to, once each.
func TestCutOffSaysWhatWasBefore(t *testing.T) {
	for _, do := range callsOfEachMethod {
		if do.method == http.MethodPost {
			continue // it is not repeated
		}
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
				if asked++; asked == 1 {
					return refusal(500, "oops"), nil
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			}}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
			defer cancel()
			err := do.do(ctx, net.client(t))
			if !errors.Is(err, context.DeadlineExceeded) || hasStatus(err, 500) || IsOutcomeUnknown(err) != (do.method != http.MethodGet) {
				t.Errorf("%s: got %v", do.name, err)
			}
			for _, want := range []string{"oops", context.DeadlineExceeded.Error()} {
				if err != nil && strings.Count(err.Error(), want) != 1 {
					t.Errorf("%s: %q does not say %q once", do.name, err, want)
				}
			}
		})
	}
}

func TestASuccessStaysOneWhenTheContextEnds(t *testing.T) {
	for _, do := range callsOfEachMethod {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
				cancel()
				return good(r), nil
			}}
			if err := do.do(ctx, net.client(t)); err != nil {
				t.Errorf("%s: it was done, but got %v", do.name, err)
			}
		})
	}
}

func TestCancelledBetweenAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			time.AfterFunc(time.Millisecond, cancel)
			return refusal(500, "oops"), nil
		}}
		_, err := net.client(t).Volume(ctx, idA)
		if !hasStatus(err, 500) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v: want both the API's error and the end of the context in it", err)
		}
	})
}

func TestAnAnswerThatNeverComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}
		start := time.Now()
		err := net.client(t).AttachVolume(t.Context(), idA, idB)
		if !IsOutcomeUnknown(err) || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v: the caller's context has not ended, the outcome is unknown", err)
		}
		if took := time.Since(start); took != writeTimeout {
			t.Errorf("gave up after %v, want %v", took, writeTimeout)
		}
	})
}

// TestDeleteThatLostItsAnswerIsNotProven: a 404 after an attempt whose outcome is unknown may be the trace of its success or
// one more answer that is wrong. The caller is told both.
func TestDeleteThatLostItsAnswerIsNotProven(t *testing.T) {
	for name, first := range map[string]func() (*http.Response, error){
		"no answer": func() (*http.Response, error) { return nil, errors.New("connection reset by peer") },
		"a 5xx":     func() (*http.Response, error) { return refusal(500, "x"), nil },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				net := &cloud{answer: func(*http.Request) (*http.Response, error) {
					n++
					if n == 1 {
						return first()
					}
					return refusal(404, "Invalid block storage ID."), nil
				}}
				if err := net.client(t).DeleteVolume(t.Context(), idA); !IsNotFound(err) || !IsOutcomeUnknown(err) || n != 2 {
					t.Errorf("got %v after %d attempts", err, n)
				}
			})
		})
	}
}

func TestDeleteOfNothingIsNotFound(t *testing.T) {
	// After a 429 nothing was done: this 404 is news.
	for _, first := range []int{404, 429} {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			net := &cloud{answer: func(*http.Request) (*http.Response, error) {
				n++
				if n == 1 {
					return refusal(first, "x"), nil
				}
				return refusal(404, "Invalid block storage ID."), nil
			}}
			if err := net.client(t).DeleteVolume(t.Context(), idA); !IsNotFound(err) || IsOutcomeUnknown(err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestAnEarlierAttemptKeepsTheOutcomeUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		net := &cloud{answer: func(*http.Request) (*http.Response, error) {
			n++
			if n == 1 {
				return refusal(504, "gateway timeout"), nil
			}
			return refusal(403, "Forbidden"), nil
		}}
		err := net.client(t).ResizeVolume(t.Context(), idA, 20)
		if !IsUnauthorized(err) || !IsOutcomeUnknown(err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAnswersThatGovultrWouldTakeForSuccess(t *testing.T) {
	tests := []struct {
		name, contentType, body string
		want                    string // "" = success
	}{
		{"plain", "application/json", `{"block":{"id":"` + idA + `"}}`, ""},
		{"charset", "application/json; charset=utf-8", `{"block":{"id":"` + idA + `"}}`, ""},
		{"html", "text/html", "<html>login</html>", "not JSON"},
		{"no type", "", `{"block":{"id":"` + idA + `"}}`, "not JSON"},
		{"empty", "application/json", "", "empty"},
		{"null", "application/json", `{"block":null}`, "lacks the object"},
		{"other object", "application/json", `{"volume":{"id":"` + idA + `"}}`, "lacks the object"},
		{"no id", "application/json", `{"block":{}}`, "lacks the object"},
		{"cut", "application/json", `{"block":{"id":`, "cannot be decoded"},
		{"wrong type", "application/json", `{"block":{"id":"x","size_gb":"ten"}}`, "cannot be decoded"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header()["Content-Type"] = []string{test.contentType}
				if test.contentType == "" {
					w.Header()["Content-Type"] = nil
				}
				_, _ = io.WriteString(w, test.body) // a client that left is the test's business
			})
			for _, do := range []call{callsOfEachMethod[0], callsOfEachMethod[3]} {
				err := do.do(t.Context(), c)
				switch {
				case test.want == "" && err != nil:
					t.Errorf("%s: %v", do.name, err)
				case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
					t.Errorf("%s: got %v, want %q", do.name, err, test.want)
				case test.want != "" && IsOutcomeUnknown(err) != (do.method == http.MethodPost):
					t.Errorf("%s: unknown = %v", do.name, IsOutcomeUnknown(err))
				}
			}
		})
	}
}

func TestErrorsOfTheAPI(t *testing.T) {
	status, body := 0, ""
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body) // a client that left is the test's business
	})
	tests := []struct {
		status int
		body   string
		want   string
		is     func(error) bool
	}{
		{404, `{"error":"Invalid block storage ID.","status":404}`, "attach block storage " + idA + ": the Vultr API answered 404: Invalid block storage ID.", IsNotFound},
		{400, `{"error":"Server is currently locked","status":400}`, "Server is currently locked", IsLocked},
		{400, `{"error":"Nothing to change","status":400}`, "Nothing to change", IsNothingToChange},
		{400, `{"error":"Block storage volume is already attached to a server","status":400}`, "already", IsAlreadyAttached},
		{400, `{"error":"Block storage volume is not currently attached to a server","status":400}`, "not currently", IsNotAttached},
		{401, `{"error":"Invalid API token.","status":401}`, "Invalid API token.", IsUnauthorized},
		{422, `{"message":"bad field"}`, "bad field", IsInvalid},
		{409, "not\n\njson", "409: not json", IsConflict},
		{400, strings.Repeat("x", 5000), strings.Repeat("x", maxMessage) + "...", IsInvalid},
		{400, "", "400 Bad Request", IsInvalid},
	}
	for _, test := range tests {
		status, body = test.status, test.body
		err := c.AttachVolume(t.Context(), idA, idB)
		if err == nil || !strings.Contains(err.Error(), test.want) || !test.is(err) || len(err.Error()) > 400 {
			t.Errorf("%d %.60s: got %v", test.status, test.body, err)
		}
	}
	status, body = 404, `{"error":"Not found.","status":404}`
	if err := c.AttachVolume(t.Context(), idA, idB); IsNotFound(err) {
		t.Errorf("a missing route was taken for a missing volume: %v", err)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	followed := false
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/elsewhere" {
			followed = true
		}
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})
	_, err := c.CreateVolume(t.Context(), VolumeRequest{Label: "x"})
	if !hasStatus(err, http.StatusTemporaryRedirect) || followed {
		t.Errorf("got %v, followed %v", err, followed)
	}
}

func TestRequestsAsTheyAreSent(t *testing.T) {
	var got *http.Request
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Clone(context.WithoutCancel(r.Context()))
		w.WriteHeader(http.StatusNoContent)
	}, func(cfg *Config) { cfg.UserAgent = "tester/1"; cfg.BaseURL += "/v2/" })
	if err := c.DeleteVolume(t.Context(), idA); err != nil {
		t.Fatal(err)
	}
	if got.Header.Get("Authorization") != "Bearer "+testKey || got.UserAgent() != "tester/1" || got.URL.Path != "/v2/blocks/"+idA {
		t.Errorf("got %s %s %v", got.Method, got.URL, got.Header)
	}
}

func TestMalformedIDsAreNotSent(t *testing.T) {
	net := &cloud{answer: func(r *http.Request) (*http.Response, error) { return good(r), nil }}
	c := net.client(t)
	ctx := t.Context()
	for _, id := range []string{"", "x", "../account", idA + "/attach", strings.Repeat("a", 36), "..", idA + "?x", idA + "\n"} {
		errs := map[string]error{
			"resize": c.ResizeVolume(ctx, id, 1), "attach": c.AttachVolume(ctx, id, idB), "detach": c.DetachVolume(ctx, id),
			"delete": c.DeleteVolume(ctx, id), "update": c.UpdateLoadBalancer(ctx, id, LoadBalancerSettings{}),
			"delete lb": c.DeleteLoadBalancer(ctx, id), "certificate": c.DeleteCertificate(ctx, id),
			"relabel": c.RelabelVolume(ctx, id, "x"), "describe snapshot": c.DescribeSnapshot(ctx, id, "x"),
			"resize file system": c.ResizeFileSystem(ctx, id, 20), "detach file system": c.DetachFileSystem(ctx, id, idB),
			"detach from": c.DetachFileSystem(ctx, idA, id), "delete vpc": c.DeleteVPC(ctx, id),
			"attach ip": c.AttachReservedIP(ctx, id, idB), "delete rule": c.DeleteFirewallGroupRule(ctx, id, 1),
		}
		_, errs["snapshot of"] = c.CreateSnapshot(ctx, id, "x")
		_, errs["attach file system"] = c.AttachFileSystem(ctx, id, idB)
		_, errs["attach to"] = c.AttachFileSystem(ctx, idA, id)
		_, errs["attachments"] = c.FileSystemAttachments(ctx, id, 0)
		_, errs["rules"] = c.FirewallGroupRules(ctx, id)
		_, errs["rule"] = c.CreateFirewallGroupRule(ctx, id, wantRule)
		_, errs["networks"] = c.Networks(ctx, Instance{ID: id})
		_, errs["wait snapshot"] = c.WaitSnapshot(ctx, id, nil)
		_, errs["volume"] = c.Volume(ctx, id)
		_, errs["instance"] = c.Instance(ctx, id)
		_, errs["lb"] = c.LoadBalancer(ctx, id)
		_, errs["wait"] = c.WaitVolume(ctx, "attach", id, nil)
		for name, err := range errs {
			if !IsInvalid(err) || IsNotFound(err) {
				t.Errorf("%s %q: got %v", name, id, err)
			}
		}
	}
	if n := len(net.requests()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestBaseURL(t *testing.T) {
	for _, bad := range []string{"api.vultr.com", "ftp://x", "http://", "https://x/api", "https://user:pw@x", "http://x?y=1", "http://\x00"} {
		if _, err := New(Config{BaseURL: bad, Key: testKey}); err == nil || strings.Contains(err.Error(), "pw") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
	for _, fine := range []string{"", "https://api.vultr.com", "http://127.0.0.1:8080/", "https://x/v2"} {
		if _, err := New(Config{BaseURL: fine, Key: testKey}); err != nil {
			t.Errorf("%q: %v", fine, err)
		}
	}
}

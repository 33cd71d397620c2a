package balancer

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestIdleWatch: it ends what was quiet for the limit, exactly then, and nothing that moved or was stopped.
func TestIdleWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &idleClock{limit: time.Minute}
		clock.touch()
		var ended atomic.Bool
		watch := watchIdle(clock.limit, clock.quiet, func() { ended.Store(true) })
		for range 10 {
			time.Sleep(59 * time.Second) // fake time
			clock.touch()
		}
		time.Sleep(time.Minute - time.Second) // fake time
		synctest.Wait()
		if ended.Load() {
			t.Error("it ended something that had moved 59 seconds ago")
		}
		time.Sleep(time.Second) // fake time
		synctest.Wait()
		if !ended.Load() {
			t.Error("it did not end what was quiet for a minute")
		}
		watch.stop()

		ended.Store(false)
		watch = watchIdle(clock.limit, clock.quiet, func() { ended.Store(true) })
		watch.stop()
		time.Sleep(time.Hour) // fake time
		synctest.Wait()
		if ended.Load() {
			t.Error("it ended something after it was stopped")
		}
	})
}

// TestTheKernelKnowsWhatMoves: the time since data moved grows while nothing does and falls when something does.
func TestTheKernelKnowsWhatMoves(t *testing.T) {
	listener := listen(t, "127.0.0.1", 0)
	near := dialTCP(t, listener.Addr().String())
	far, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	conn, ok := far.(*net.TCPConn)
	if !ok {
		t.Fatal("no TCP connection")
	}
	quiet := func() time.Duration { return quietest([]*net.TCPConn{conn}, time.Hour) }
	await(t, "half a second of silence", func() bool { return quiet() >= 500*time.Millisecond })
	await(t, "what was sent to show", func() bool {
		if _, err := near.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		return quiet() < 500*time.Millisecond
	})
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	if got := quiet(); got != time.Hour {
		t.Errorf("a closed connection moved something %s ago", got)
	}
}

// TestMuchDataBothWays sends more than goes through memory, in both directions at once, and compares every byte.
func TestMuchDataBothWays(t *testing.T) {
	addresses, port := group(t, 1)
	listener := listen(t, addresses[0], port)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_, _ = io.Copy(conn, conn)
				_ = conn.Close()
			}()
		}
	}()
	r := newRig(t, rule("tcp", 8080, port))
	r.backends(addresses)
	r.apply()
	r.await(1)
	c := dialTCP(t, r.at(8080))
	sent := make([]byte, 16<<20)
	if _, err := rand.Read(sent); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, _ = c.Write(sent)
		if tcp, ok := c.Conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d of %d bytes came back, or others; %v", len(got), len(sent), err)
	}
}

// trickle is a body, or a tunnel, of which something comes or goes every 50 seconds of fake time.
type trickle struct{}

func (trickle) Read([]byte) (int, error)    { time.Sleep(50 * time.Second); return 1, nil }
func (trickle) Write(p []byte) (int, error) { time.Sleep(50 * time.Second); return len(p), nil }
func (trickle) Close() error                { return nil }

// TestWhateverMovesKeepsAnExchange: a request, an answer and a tunnel each keep it alive for as long as they move, and
// no longer than the limit after that.
func TestWhateverMovesKeepsAnExchange(t *testing.T) {
	answer := func(body io.ReadCloser) func(*http.Request, *idleClock) io.ReadWriter {
		return func(_ *http.Request, clock *idleClock) io.ReadWriter {
			response := &http.Response{Body: body}
			touching(response, clock)
			return struct {
				io.Reader
				io.Writer
			}{response.Body, writerOf(response.Body)}
		}
	}
	for name, test := range map[string]struct {
		part   func(*http.Request, *idleClock) io.ReadWriter
		writes bool
	}{
		"a request": {func(r *http.Request, _ *idleClock) io.ReadWriter {
			return struct {
				io.Reader
				io.Writer
			}{r.Body, nil}
		}, false},
		"an answer":               {answer(io.NopCloser(io.Reader(trickle{}))), false},
		"what a tunnel brings":    {answer(trickle{}), false},
		"what is put in a tunnel": {answer(trickle{}), true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", trickle{})
				moving, clock, done := whileMoving(httptest.NewRecorder(), request, time.Minute, time.Second)
				defer done()
				part, buffer := test.part(moving, clock), make([]byte, 1)
				for range 10 {
					if test.writes {
						_, _ = part.Write(buffer)
					} else {
						_, _ = part.Read(buffer)
					}
				}
				if moving.Context().Err() != nil {
					t.Fatal("given up although something moved all the time")
				}
				time.Sleep(time.Minute) // fake time
				synctest.Wait()
				if !errors.Is(context.Cause(moving.Context()), errIdle) {
					t.Error("not given up although nothing moved for the limit")
				}
			})
		})
	}
}

func writerOf(body io.ReadCloser) io.Writer {
	writer, _ := body.(io.Writer)
	return writer
}

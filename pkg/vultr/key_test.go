package vultr

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func writeKey(t *testing.T, path, key string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestKeyFileAsTheKubeletChangesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := filepath.Join(dir, "api-key")
		swap := func(version, key string) {
			if err := os.Mkdir(filepath.Join(dir, version), 0o700); err != nil {
				t.Fatal(err)
			}
			writeKey(t, filepath.Join(dir, version, "api-key"), key)
			if err := os.Symlink(version, filepath.Join(dir, "..new")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(dir, "..new"), filepath.Join(dir, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		swap("..1", "KEYONE000\n")
		if err := os.Symlink("..data/api-key", file); err != nil {
			t.Fatal(err)
		}
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) { return good(r), nil }}
		c := net.client(t, func(cfg *Config) { cfg.KeyFile, cfg.Key = file, "" })
		used := func() string {
			if _, err := c.Volume(t.Context(), idA); err != nil {
				t.Fatal(err)
			}
			seen := net.requests()
			return strings.TrimPrefix(seen[len(seen)-1].header.Get("Authorization"), "Bearer ")
		}
		if got := used(); got != "KEYONE000" {
			t.Fatalf("used %q", got)
		}
		swap("..2", "KEYTWO000")
		time.Sleep(keyCheckInterval) // fake time
		if got := used(); got != "KEYTWO000" {
			t.Errorf("after the change: used %q", got)
		}
		// Gone or unusable for a moment: the last key stays.
		for _, breakIt := range []func() error{
			func() error { return os.WriteFile(filepath.Join(dir, "..2", "api-key"), nil, 0o600) },
			func() error { return os.Remove(file) },
		} {
			if err := breakIt(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(keyCheckInterval) // fake time
			if got := used(); got != "KEYTWO000" {
				t.Errorf("used %q", got)
			}
		}
	})
}

// TestKeySince: a key is in use since it was read first, however often it is read again.
func TestKeySince(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "api-key")
		writeKey(t, file, "KEYONE000")
		net := &cloud{answer: func(r *http.Request) (*http.Response, error) { return good(r), nil }}
		began := time.Now()
		c := net.client(t, func(cfg *Config) { cfg.KeyFile, cfg.Key = file, "" })
		time.Sleep(time.Hour) // of the fake clock
		writeKey(t, file, "KEYONE000\n")
		if got := c.KeySince(); !got.Equal(began) {
			t.Errorf("the same key: since %s", got.Sub(began))
		}
		time.Sleep(time.Hour)
		writeKey(t, file, "KEYTWO000")
		if got := c.KeySince(); !got.Equal(began.Add(2 * time.Hour)) {
			t.Errorf("another key: since %s", got.Sub(began))
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if got := c.KeySince(); !got.Equal(began.Add(2 * time.Hour)) {
			t.Errorf("no file for a moment: since %s", got.Sub(began))
		}
	})
}

func TestARefusedKeyIsReadAgain(t *testing.T) {
	file := filepath.Join(t.TempDir(), "key")
	writeKey(t, file, "OLDKEY00")
	var calls atomic.Int32
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("Authorization") != "Bearer NEWKEY00" {
			writeJSON(w, 401, map[string]any{"error": "Invalid API token.", "status": 401})
			return
		}
		writeJSON(w, 202, map[string]any{"block": block(idA, "pending", "")})
	}, func(cfg *Config) { cfg.KeyFile, cfg.Key = file, "" })

	create := func() error { _, err := c.CreateVolume(t.Context(), VolumeRequest{Label: "x"}); return err }
	if err := create(); !IsUnauthorized(err) || calls.Load() != 1 {
		t.Fatalf("got %v after %d calls", err, calls.Load())
	}
	writeKey(t, file, "NEWKEY00")
	if err := create(); err != nil {
		t.Errorf("the key that was just replaced was used to the end: %v", err)
	}
}

func TestKeysThatCannotBe(t *testing.T) {
	dir := t.TempDir()
	path := func(name, content string) string {
		p := filepath.Join(dir, name)
		writeKey(t, p, content)
		return p
	}
	for name, cfg := range map[string]Config{
		"neither":         {},
		"missing file":    {KeyFile: filepath.Join(dir, "none")},
		"a directory":     {KeyFile: dir, Key: testKey},
		"empty file":      {KeyFile: path("empty", " \n")},
		"two words":       {KeyFile: path("words", "SECRETPART other")},
		"a newline":       {Key: "SECRETPART\nX-Header: 1"},
		"no plain letter": {Key: "SECRETPART\u00e9"},
	} {
		_, err := New(cfg)
		if err == nil || strings.Contains(err.Error(), "SECRETPART") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := New(Config{KeyFile: filepath.Join(dir, "none"), Key: testKey}); err != nil {
		t.Errorf("a key beside a missing file: %v", err)
	}
}

// TestTheKeyIsNeverShown has a server that repeats the key in every way it can.
func TestTheKeyIsNeverShown(t *testing.T) {
	pem := "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\n-----END EC PRIVATE KEY-----"
	ways := map[string]func(w http.ResponseWriter, key string){
		"error text": func(w http.ResponseWriter, key string) {
			writeJSON(w, 400, map[string]string{"error": "bad token " + key})
		},
		"proxy page": func(w http.ResponseWriter, key string) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, strings.Repeat("x", maxMessage-10)+key) // cut inside of the key
		},
		"content type": func(w http.ResponseWriter, key string) {
			w.Header().Set("Content-Type", "x/"+key)
			_, _ = io.WriteString(w, key)
		},
		"decoding": func(w http.ResponseWriter, key string) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = fmt.Fprintf(w, `{"block":{"date_created":%q,"size_gb":%q}}`, key, key)
		},
		"no HTTP": func(w http.ResponseWriter, key string) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				return
			}
			_, _ = fmt.Fprintf(conn, "%s\r\n\r\n", key)
			_ = conn.Close()
		},
		"private key": func(w http.ResponseWriter, _ string) {
			writeJSON(w, 400, map[string]string{"error": "invalid: " + pem})
		},
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				way(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			})
			_, err := c.CreateVolume(t.Context(), VolumeRequest{Label: "x"})
			if err == nil {
				t.Fatal("no error")
			}
			for e := err; e != nil; e = errors.Unwrap(e) {
				text := fmt.Sprintf("%v %+v %#v", e, e, e)
				for _, secret := range []string{testKey, testKey[:8], "MHcCAQEE"} {
					if strings.Contains(text, secret) {
						t.Errorf("%q is in %s", secret, text)
					}
				}
			}
		})
	}
	cfg := Config{Key: testKey, KeyFile: "/etc/key"}
	cert := Certificate{PrivateKey: pem}
	for _, v := range []any{cfg, &cfg, cert, &cert, LoadBalancerSettings{Certificate: &cert}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if text := fmt.Sprintf(verb, v); strings.Contains(text, testKey) || strings.Contains(text, "MHcCAQEE") {
				t.Errorf("%s shows %s", verb, text)
			}
		}
	}
}

func TestRedactorReplacesLongKeysFirst(t *testing.T) {
	r := &redactor{}
	for _, k := range []string{"ABC", "ABCDEF", "ABC"} {
		r.add(k)
	}
	if got := r.text("x ABCDEF y ABC"); got != "x "+redacted+" y "+redacted {
		t.Errorf("got %q", got)
	}
	if r.err(nil) != nil {
		t.Error("an error out of nothing")
	}
}

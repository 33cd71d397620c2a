package vultr

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const metadataExample = `{"hostname":"w1","local-hostname":"w1","instance-v2-id":"` + idA + `","instanceid":"42872224",
"interfaces":[{"ipv4":{"additional":[],"address":"45.76.7.171","gateway":"45.76.6.1","netmask":"255.255.254.0"},
"ipv6":{"additional":[],"address":"2001:19f0:0:0::1","network":"2001::","prefix":"64"},"mac":"56:00:03:1b:4e:ca","network-type":"public"},
{"ipv4":{"address":"10.1.112.3","gateway":"","netmask":"255.255.240.0"},"ipv6":{"network":""},"network-type":"private"}],
"region":{"regioncode":"EWR","countrycode":"US"},"tags":[]}`

func TestMetadata(t *testing.T) {
	evpn := `{"hostname":"w2","instance-v2-id":"` + idB + `","interfaces":[{"ipv4":{"address":"dhcp"},"network-type":"evpn"}],"region":{"regioncode":"fra"}}`
	tests := []struct {
		name, body string
		want       InstanceMetadata
	}{
		{"with a VPC", metadataExample, InstanceMetadata{
			InstanceID: idA, Hostname: "w1", Region: "ewr", RegionCode: "EWR", PublicIP: "45.76.7.171", PrivateIP: "10.1.112.3", PublicIPv6: "2001:19f0::1",
		}},
		{"in a VPC only", evpn, InstanceMetadata{InstanceID: idB, Hostname: "w2", Region: "fra", RegionCode: "fra"}},
	}
	for _, test := range tests {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v1.json" || r.Header.Get("Metadata-Token") != "vultr" {
				t.Errorf("%s: got %s %v", test.name, r.URL, r.Header)
			}
			_, _ = io.WriteString(w, test.body) // a client that left is the test's business
		}))
		got, err := NewMetadata(server.URL + "/").Get(t.Context())
		if err != nil || got != test.want {
			t.Errorf("%s: got %+v, %v", test.name, got, err)
		}
		server.Close()
	}
}

func TestMetadataIsAskedUntilItAnswers(t *testing.T) {
	var n atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answers := []string{"", "not json", `{"instance-v2-id":"` + idA + `"}`, `{"instance-v2-id":"","region":{"regioncode":"EWR"}}`}
		i := int(n.Add(1)) - 1
		switch {
		case i == 0:
			w.WriteHeader(http.StatusNotFound)
		case i < len(answers):
			_, _ = io.WriteString(w, answers[i]) // a client that left is the test's business
		default:
			_, _ = io.WriteString(w, metadataExample)
		}
	}))
	defer server.Close()
	md, err := NewMetadata(server.URL).Get(t.Context())
	if err != nil || md.InstanceID != idA || n.Load() != 5 {
		t.Errorf("got %+v, %v after %d calls", md, err, n.Load())
	}
}

func TestMetadataSaysWhatWasWrong(t *testing.T) {
	for name, answers := range map[string]int{"each attempt is answered": 1000, "the second one hangs": 1} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			m := NewMetadata("http://metadata.test")
			m.client.Transport = &cloud{answer: func(r *http.Request) (*http.Response, error) {
				if asked++; asked > answers {
					<-r.Context().Done()
					return nil, r.Context().Err()
				}
				resp := reply(http.StatusNotFound, nil)
				resp.Status = "404 Not Found"
				return resp, nil
			}}
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := m.Get(ctx)
			if err == nil || !strings.Contains(err.Error(), "404 Not Found") || !strings.Contains(err.Error(), "http://metadata.test") {
				t.Errorf("%s: got %v", name, err)
			}
			if asked > answers && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v", name, err)
			}
		})
	}
	cancelled, stop := context.WithCancel(t.Context())
	stop()
	if _, err := NewMetadata("http://metadata.test").Get(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if NewMetadata("").url != "http://169.254.169.254/v1.json" {
		t.Error("the default address is wrong")
	}
}

package nameserver

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// zone has one Service of each kind; of one it cannot tell.
func zone(_ context.Context, namespace, service string) ([]netip.Addr, error) {
	switch namespace + "/" + service {
	case "demo/web":
		return []netip.Addr{netip.MustParseAddr("10.96.0.7")}, nil
	case "demo/both":
		return []netip.Addr{netip.MustParseAddr("10.96.0.8"), netip.MustParseAddr("fd00::8")}, nil
	case "demo/headless":
		return nil, nil
	case "demo/unreadable":
		return nil, errors.New("the apiserver is away")
	}
	return nil, ErrUnknown
}

// serve runs a server and gives a resolver of Go's own that asks it by that network.
func serve(t *testing.T, network string) *net.Resolver {
	t.Helper()
	datagrams, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	streams, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	server := &Server{Domain: "cluster.local", Lookup: zone}
	go func() { ended <- server.Serve(ctx, datagrams, streams) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error("at the end of the context:", err)
		}
	})
	address := map[string]string{"udp": datagrams.LocalAddr().String(), "tcp": streams.Addr().String()}[network]
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}}
}

// TestServe asks as the programs in pods do.
func TestServe(t *testing.T) {
	type found = []string
	for _, network := range []string{"udp", "tcp"} {
		resolver := serve(t, network)
		for _, c := range []struct {
			name, family string
			want         found
			// unknown is a name that does not exist, and failed one of which nothing can be said.
			unknown, failed bool
		}{
			{name: "web.demo.svc.cluster.local.", family: "ip4", want: found{"10.96.0.7"}},
			{name: "Web.DEMO.svc.Cluster.local.", family: "ip", want: found{"10.96.0.7"}},
			{name: "both.demo.svc.cluster.local.", family: "ip", want: found{"10.96.0.8", "fd00::8"}},
			{name: "both.demo.svc.cluster.local.", family: "ip6", want: found{"fd00::8"}},
			{name: "headless.demo.svc.cluster.local.", family: "ip", unknown: true}, // Go's resolver calls it so
			{name: "other.demo.svc.cluster.local.", family: "ip", unknown: true},
			{name: "pod.web.demo.svc.cluster.local.", family: "ip", unknown: true},
			{name: "demo.svc.cluster.local.", family: "ip", unknown: true},
			{name: "web.demo.", family: "ip", unknown: true},
			{name: "vultr.com.", family: "ip", unknown: true},
			{name: "unreadable.demo.svc.cluster.local.", family: "ip", failed: true},
		} {
			t.Run(network+" "+c.family+" "+c.name, func(t *testing.T) {
				addresses, err := resolver.LookupNetIP(t.Context(), c.family, c.name)
				var got found
				for _, address := range addresses {
					got = append(got, address.Unmap().String())
				}
				slices.Sort(got)
				if !slices.Equal(got, c.want) {
					t.Errorf("%v, want %v", got, c.want)
				}
				fault, isFault := errors.AsType[*net.DNSError](err)
				switch {
				case !c.unknown && !c.failed && err != nil:
					t.Error(err)
				case c.unknown && (!isFault || !fault.IsNotFound):
					t.Errorf("%v, want a name that does not exist", err)
				case c.failed && (!isFault || fault.IsNotFound):
					t.Errorf("%v, want a failure", err)
				}
			})
		}
	}
}

// TestAnswer: a malformed message is not answered, and an unknown kind of query is refused.
func TestAnswer(t *testing.T) {
	name := dnsmessage.MustNewName("web.demo.svc.cluster.local.")
	question := dnsmessage.Question{Name: name, Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	server := &Server{Domain: "cluster.local", Lookup: zone}
	for label, c := range map[string]struct {
		message dnsmessage.Message
		silent  bool
		code    dnsmessage.RCode
		answers int
	}{
		"a query": {
			message: dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{question}}, answers: 1,
		},
		"an answer": {
			message: dnsmessage.Message{Header: dnsmessage.Header{ID: 7, Response: true}, Questions: []dnsmessage.Question{question}}, silent: true,
		},
		"no question": {message: dnsmessage.Message{Header: dnsmessage.Header{ID: 7}}, code: dnsmessage.RCodeFormatError},
		"an update": {
			message: dnsmessage.Message{Header: dnsmessage.Header{ID: 7, OpCode: 5}, Questions: []dnsmessage.Question{question}},
			code:    dnsmessage.RCodeNotImplemented,
		},
	} {
		t.Run(label, func(t *testing.T) {
			query, err := c.message.Pack()
			if err != nil {
				t.Fatal(err)
			}
			answer := server.answer(t.Context(), query)
			if c.silent {
				if answer != nil {
					t.Errorf("answered %x", answer)
				}
				return
			}
			var got dnsmessage.Message
			if err := got.Unpack(answer); err != nil {
				t.Fatal(err)
			}
			if got.ID != 7 || !got.Response || got.RCode != c.code || len(got.Answers) != c.answers {
				t.Errorf("answered %s", got.GoString())
			}
		})
	}
	if answer := server.answer(t.Context(), []byte("no message")[:5]); answer != nil {
		t.Errorf("five bytes were answered: %x", answer)
	}
}

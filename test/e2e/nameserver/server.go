// Package nameserver answers for the names of Services, as the DNS of a cluster does: Kubernetes' own tests of Services reach them
// by name. It knows the addresses that Services have themselves, of no other name, and asks nobody else.
package nameserver

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// ErrUnknown is what a Lookup tells of a Service that does not exist.
var ErrUnknown = errors.New("no such Service")

// Server answers queries.
type Server struct {
	// Domain is the cluster's, such as cluster.local.
	Domain string
	// Lookup returns the addresses of a Service, none of one that has none itself.
	Lookup func(ctx context.Context, namespace, service string) ([]netip.Addr, error)
}

const (
	lookupLimit = 4 * time.Second  // less than clients wait for an answer
	idle        = 10 * time.Second // for how long a client keeps a connection without asking
	longest     = 4096             // bytes of a query in a datagram
	ttl         = 5                // seconds; tests create and delete Services of the same name
)

// Serve answers DNS queries over UDP and TCP until ctx ends, and returns nil then. It closes both sockets.
func (s *Server) Serve(ctx context.Context, datagrams net.PacketConn, streams net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	context.AfterFunc(ctx, func() {
		_ = datagrams.Close() // it only ends what is being read
		_ = streams.Close()   // as above
	})
	ended := make(chan error, 2)
	go func() { ended <- s.serveDatagrams(ctx, datagrams) }()
	go func() { ended <- s.serveStreams(ctx, streams) }()
	err := <-ended
	cancel()
	return errors.Join(err, <-ended)
}

func (s *Server) serveDatagrams(ctx context.Context, conn net.PacketConn) error {
	var asked sync.WaitGroup
	defer asked.Wait()
	datagram := make([]byte, longest)
	for {
		n, client, err := conn.ReadFrom(datagram)
		if err != nil {
			return unlessEnded(ctx, err)
		}
		query := bytes.Clone(datagram[:n])
		asked.Go(func() {
			if answer := s.answer(ctx, query); answer != nil {
				_, _ = conn.WriteTo(answer, client) // a datagram may be lost
			}
		})
	}
}

func (s *Server) serveStreams(ctx context.Context, listener net.Listener) error {
	var open sync.WaitGroup
	defer open.Wait()
	for {
		conn, err := listener.Accept()
		if err != nil {
			return unlessEnded(ctx, err)
		}
		open.Go(func() { s.stream(ctx, conn) })
	}
}

// stream answers queries that have their length before them until the client has none any more.
func (s *Server) stream(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // as above
	defer stop()
	defer func() { _ = conn.Close() }() // all has been said, or nobody listens
	for {
		var length uint16
		if conn.SetDeadline(time.Now().Add(idle)) != nil || binary.Read(conn, binary.BigEndian, &length) != nil {
			return
		}
		query := make([]byte, length)
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		answer := s.answer(ctx, query)
		if answer == nil {
			return
		}
		framed := binary.BigEndian.AppendUint16(nil, uint16(len(answer))) //nolint:gosec // G115: the addresses of one Service
		if _, err := conn.Write(append(framed, answer...)); err != nil {
			return
		}
	}
}

// unlessEnded is nil for the error that the end of the context has brought about.
func unlessEnded(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	return nil
}

// answer is the answer to a query, nil to what is not a query.
func (s *Server) answer(ctx context.Context, query []byte) []byte {
	var parser dnsmessage.Parser
	asked, err := parser.Start(query)
	if err != nil || asked.Response {
		return nil
	}
	message := dnsmessage.Message{Header: dnsmessage.Header{
		ID: asked.ID, Response: true, OpCode: asked.OpCode, Authoritative: true, RecursionDesired: asked.RecursionDesired,
	}}
	question, err := parser.Question()
	switch {
	case asked.OpCode != 0:
		message.RCode = dnsmessage.RCodeNotImplemented
	case err != nil:
		message.RCode = dnsmessage.RCodeFormatError
	default:
		message.Questions = []dnsmessage.Question{question}
		message.Answers, message.RCode = s.records(ctx, question)
	}
	answer, err := message.Pack()
	if err != nil {
		return nil // a question that cannot be repeated was none
	}
	return answer
}

// records answers a question. A Service that has no address of the family that was asked for has no record, and is known.
func (s *Server) records(ctx context.Context, question dnsmessage.Question) ([]dnsmessage.Resource, dnsmessage.RCode) {
	ctx, cancel := context.WithTimeout(ctx, lookupLimit)
	defer cancel()
	addresses, err := s.find(ctx, strings.ToLower(question.Name.String()))
	switch {
	case errors.Is(err, ErrUnknown):
		return nil, dnsmessage.RCodeNameError
	case err != nil:
		return nil, dnsmessage.RCodeServerFailure
	}
	var records []dnsmessage.Resource
	for _, address := range addresses {
		var body dnsmessage.ResourceBody
		switch {
		case question.Type == dnsmessage.TypeA && address.Is4():
			body = &dnsmessage.AResource{A: address.As4()}
		case question.Type == dnsmessage.TypeAAAA && address.Is6():
			body = &dnsmessage.AAAAResource{AAAA: address.As16()}
		default:
			continue
		}
		header := dnsmessage.ResourceHeader{Name: question.Name, Class: question.Class, TTL: ttl}
		records = append(records, dnsmessage.Resource{Header: header, Body: body})
	}
	return records, dnsmessage.RCodeSuccess
}

// find looks for the Service of a name in lower case.
func (s *Server) find(ctx context.Context, name string) ([]netip.Addr, error) {
	rest, inside := strings.CutSuffix(name, ".svc."+s.Domain+".")
	service, namespace, whole := strings.Cut(rest, ".")
	if !inside || !whole || service == "" || namespace == "" || strings.Contains(namespace, ".") {
		return nil, ErrUnknown
	}
	return s.Lookup(ctx, namespace, service)
}

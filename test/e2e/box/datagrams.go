package box

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
)

// framed carries datagrams over a stream. Without frames two of them can arrive as one, or one in pieces.
// Empty ones are not carried.
type framed struct{ net.Conn }

// frameHead is a datagram's length in bytes, big-endian.
const frameHead = 2

// errLongDatagram is what a datagram gets that UDP could not carry either.
var errLongDatagram = errors.New("the datagram is longer than 65,535 bytes")

// Write sends one datagram.
func (c framed) Write(p []byte) (int, error) {
	if len(p) > 1<<16-1 {
		return 0, errLongDatagram
	}
	frame := append(binary.BigEndian.AppendUint16(make([]byte, 0, frameHead+len(p)), uint16(len(p))), p...) //nolint:gosec // judged above
	if _, err := c.Conn.Write(frame); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Read receives one datagram. What does not fit into p is lost, as it is from a socket.
func (c framed) Read(p []byte) (int, error) {
	var head [frameHead]byte
	if _, err := io.ReadFull(c.Conn, head[:]); err != nil {
		return 0, err
	}
	length := int(binary.BigEndian.Uint16(head[:]))
	n, err := io.ReadFull(c.Conn, p[:min(length, len(p))])
	if err != nil {
		return n, err
	}
	_, err = io.CopyN(io.Discard, c.Conn, int64(length-n))
	return n, err
}

package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// CSI returns the connection to the node plugin's socket in the guest, for the clients of CSI. A context's deadline goes
// with each call; its cancellation does not.
func (c *Client) CSI() grpc.ClientConnInterface { return conn{c} }

// grace is how much later than the plugin's client in the guest the one here gives up.
const grace = 30 * time.Second

type conn struct{ client *Client }

// Invoke is one call.
func (c conn) Invoke(ctx context.Context, method string, args, reply any, _ ...grpc.CallOption) error {
	request, ok := args.(proto.Message)
	response, ok2 := reply.(proto.Message)
	if !ok || !ok2 {
		return fmt.Errorf("%s is called with %T and %T, which are not messages", method, args, reply)
	}
	raw, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	// The answer comes from the guest, also when it is that there was not enough time.
	timeout := left(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout+grace)
	defer cancel()
	var r Reply
	if err := c.client.call(ctx, "CSI", Call{Method: method, Request: raw, Timeout: timeout}, &r); err != nil {
		return err
	}
	if r.Code != uint32(codes.OK) {
		return status.Error(codes.Code(r.Code), r.Message)
	}
	return proto.Unmarshal(r.Response, response)
}

// NewStream is not needed: CSI's node service has none.
func (conn) NewStream(context.Context, *grpc.StreamDesc, string, ...grpc.CallOption) (grpc.ClientStream, error) {
	return nil, errors.New("streams are not passed on")
}

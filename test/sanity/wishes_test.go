package sanity

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/container-storage-interface/spec/lib/go/csi"
	sanity "github.com/kubernetes-csi/csi-test/v5/pkg/sanity"
	"google.golang.org/grpc"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/test/csiprocess"
)

// announces checks what the suite does not ask for: that topology and growth in use are announced. Without the first, the
// provisioner passes on no topology, and every volume is made in the controller's region.
func announces(t *testing.T, sockets ...string) {
	t.Helper()
	for _, socket := range sockets {
		resp, err := csi.NewIdentityClient(csiprocess.Dial(t, socket)).GetPluginCapabilities(t.Context(), &csi.GetPluginCapabilitiesRequest{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, c := range resp.GetCapabilities() {
			if c.GetService() != nil {
				got = append(got, c.GetService().GetType().String())
			} else {
				got = append(got, "expansion "+c.GetVolumeExpansion().GetType().String())
			}
		}
		for _, want := range []string{"VOLUME_ACCESSIBILITY_CONSTRAINTS", "expansion ONLINE"} {
			if !slices.Contains(got, want) {
				t.Errorf("%s announces %v, without %s", socket, got, want)
			}
		}
	}
}

// ask has an interceptor change what the suite asks for.
func ask(config *sanity.TestConfig, change grpc.UnaryClientInterceptor) {
	option := grpc.WithChainUnaryInterceptor(change)
	config.DialOptions, config.ControllerDialOptions = append(config.DialOptions, option), append(config.ControllerDialOptions, option)
}

// capabilitiesOf are the capabilities of a request.
func capabilitiesOf(req any) []*csi.VolumeCapability {
	switch r := req.(type) {
	case interface {
		GetVolumeCapabilities() []*csi.VolumeCapability
	}:
		return r.GetVolumeCapabilities()
	case interface{ GetVolumeCapability() *csi.VolumeCapability }:
		return []*csi.VolumeCapability{r.GetVolumeCapability()}
	}
	return nil
}

// fileSystems names the file system in what the suite asks for, which itself leaves it open.
type fileSystems struct {
	wish string
	// staged counts the stagings that succeeded.
	staged atomic.Int64
}

// ask is a client's interceptor.
func (f *fileSystems) ask(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	for _, c := range capabilitiesOf(req) {
		if m := c.GetMount(); m != nil && m.GetFsType() == "" {
			m.FsType = f.wish
		}
	}
	err := call(ctx, method, req, reply, conn, opts...)
	if r, ok := req.(*csi.NodeStageVolumeRequest); ok && err == nil && r.GetVolumeCapability().GetMount().GetFsType() == f.wish {
		f.staged.Add(1)
	}
	return err
}

// bySeveralNodes has the suite, which asks for volumes of one node at a time only, ask for ones of several.
func bySeveralNodes(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, call grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	for _, c := range capabilitiesOf(req) {
		if c.GetAccessMode().GetMode() == csi.VolumeCapability_AccessMode_SINGLE_NODE_WRITER {
			c.AccessMode.Mode = csi.VolumeCapability_AccessMode_MULTI_NODE_MULTI_WRITER
		}
	}
	return call(ctx, method, req, reply, conn, opts...)
}

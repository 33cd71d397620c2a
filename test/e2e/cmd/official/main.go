// Command official stands in for the official CSI driver (vultr-csi v0.18, and the csi-node-driver-registrar beside it) where a
// cluster is to be as that one leaves it: the same names, the same context and attributes of volumes, formatted, mounted and
// bound by the same commands at the same paths, without any record. It is written from what the official driver was seen to do,
// and knows block storage with a file system, and shared file systems.
//
//	official --endpoint=unix:///csi/csi.sock [--token=KEY --api-url=URL]
//	official registrar --kubelet-registration-path=/var/lib/kubelet/plugins/block.csi.vultr.com/csi.sock
//	official ccm
//
// The last one stands in for the official cloud controller manager, see there.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/container-storage-interface/spec/lib/go/csi"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
	registerapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
)

const driverName = "block.csi.vultr.com"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	args, run := os.Args[1:], driver
	if len(args) > 0 {
		if other := map[string]func(context.Context, []string) error{"registrar": registrar, "ccm": ccm}[args[0]]; other != nil {
			args, run = args[1:], other
		}
	}
	err := run(ctx, args)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "official:", err)
		os.Exit(1)
	}
}

// driver serves the CSI services.
func driver(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("official", flag.ContinueOnError)
	endpoint := flags.String("endpoint", "", "CSI endpoint")
	token := flags.String("token", "", "API key")
	apiURL := flags.String("api-url", "https://api.vultr.com", "API URL")
	devices := flags.String("devices", "/dev", "directory with the machine's disks")
	shared := flags.String("shared", "", "directory with the machine's shared file systems")
	if err := flags.Parse(args); err != nil {
		return err
	}
	self, err := readMetadata(ctx)
	if err != nil {
		return err
	}
	server := grpc.NewServer()
	csi.RegisterIdentityServer(server, identity{})
	csi.RegisterNodeServer(server, &node{self: self, devices: *devices, shared: *shared})
	if *token != "" {
		csi.RegisterControllerServer(server, &controller{cloud: &cloud{base: *apiURL, key: *token}, region: self.Region.Code})
	}
	return serve(ctx, server, strings.TrimPrefix(*endpoint, "unix://"))
}

// registrar tells the kubelet of the driver.
func registrar(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("registrar", flag.ContinueOnError)
	path := flags.String("kubelet-registration-path", "", "the driver's socket as the kubelet sees it")
	if err := flags.Parse(args); err != nil {
		return err
	}
	server := grpc.NewServer()
	registerapi.RegisterRegistrationServer(server, registration{endpoint: *path})
	return serve(ctx, server, "/registration/"+driverName+"-reg.sock")
}

// serve serves on a socket until the context ends; then the socket is gone.
func serve(ctx context.Context, server *grpc.Server, socket string) error {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "unix", socket)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, server.GracefulStop)
	defer stop()
	return server.Serve(listener)
}

type identity struct {
	csi.UnimplementedIdentityServer
}

func (identity) GetPluginInfo(context.Context, *csi.GetPluginInfoRequest) (*csi.GetPluginInfoResponse, error) {
	return &csi.GetPluginInfoResponse{Name: driverName, VendorVersion: "v0.18.0"}, nil
}

// GetPluginCapabilities does not announce topology, and so no PersistentVolume gets a node affinity.
func (identity) GetPluginCapabilities(context.Context, *csi.GetPluginCapabilitiesRequest) (*csi.GetPluginCapabilitiesResponse, error) {
	return &csi.GetPluginCapabilitiesResponse{Capabilities: []*csi.PluginCapability{
		{Type: &csi.PluginCapability_Service_{Service: &csi.PluginCapability_Service{Type: csi.PluginCapability_Service_CONTROLLER_SERVICE}}},
		{Type: &csi.PluginCapability_VolumeExpansion_{VolumeExpansion: &csi.PluginCapability_VolumeExpansion{Type: csi.PluginCapability_VolumeExpansion_ONLINE}}},
	}}, nil
}

func (identity) Probe(context.Context, *csi.ProbeRequest) (*csi.ProbeResponse, error) {
	return &csi.ProbeResponse{Ready: wrapperspb.Bool(true)}, nil
}

type registration struct {
	registerapi.UnimplementedRegistrationServer

	endpoint string
}

func (r registration) GetInfo(context.Context, *registerapi.InfoRequest) (*registerapi.PluginInfo, error) {
	return &registerapi.PluginInfo{Type: registerapi.CSIPlugin, Name: driverName, Endpoint: r.endpoint, SupportedVersions: []string{"1.0.0"}}, nil
}

// NotifyRegistrationStatus ends the process when it was refused, as the registrar does: the kubelet asks its next one again.
func (registration) NotifyRegistrationStatus(_ context.Context, s *registerapi.RegistrationStatus) (*registerapi.RegistrationStatusResponse, error) {
	if !s.GetPluginRegistered() {
		fmt.Fprintln(os.Stderr, "official: the kubelet refused the registration:", s.GetError())
		os.Exit(1) //nolint:revive // there is nothing to clean up
	}
	return &registerapi.RegistrationStatusResponse{}, nil
}

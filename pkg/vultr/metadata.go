package vultr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	defaultMetadataURL = "http://169.254.169.254"
	metadataTimeout    = 3 * time.Second
	metadataMaxBody    = 8 << 20
)

// Metadata asks the metadata service, which tells an instance about itself and needs no key.
type Metadata struct {
	url    string
	client *http.Client
}

// InstanceMetadata is what an instance can learn of itself.
type InstanceMetadata struct {
	InstanceID string // the API's UUID
	Hostname   string
	Region     string // lower case, as the API has it; the service says "EWR"
	RegionCode string // the region exactly as the service spells it
	PublicIP   string // "" for an instance in a VPC only
	PrivateIP  string // the address in the VPC, "" without one
	PublicIPv6 string
}

// NewMetadata makes a client; baseURL "" means http://169.254.169.254.
func NewMetadata(baseURL string) *Metadata {
	return &Metadata{
		url: strings.TrimSuffix(orDefault(baseURL, defaultMetadataURL), "/") + "/v1.json",
		client: &http.Client{
			Timeout: metadataTimeout,
			// No proxy: the address is link-local, and a proxy would answer as another instance.
			Transport:     &http.Transport{DisableKeepAlives: true},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Get reads the metadata. It tries until ctx ends: the network may still come up, and the service lags after boot.
func (m *Metadata) Get(ctx context.Context) (InstanceMetadata, error) {
	var before error
	for n := 1; ; n++ {
		md, err := m.once(ctx)
		if err == nil {
			return md, nil
		}
		if before != nil && ctx.Err() != nil {
			err = fmt.Errorf("%w; the attempt before: %w", err, before) // it was cut off
		}
		before = err
		if !pause(ctx, jitter(backoff(n))) {
			return InstanceMetadata{}, fmt.Errorf("metadata service %s (%d attempts): %w", m.url, n, withEnd(ctx, err))
		}
	}
}

// withEnd adds the end of the context to the failure that it kept from being repeated.
func withEnd(ctx context.Context, err error) error {
	if end := ctx.Err(); end != nil && !errors.Is(err, end) {
		return errors.Join(err, end)
	}
	return err
}

func (m *Metadata) once(ctx context.Context) (md InstanceMetadata, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.url, http.NoBody)
	if err != nil {
		return md, err
	}
	req.Header.Set("Metadata-Token", "vultr")
	resp, err := m.client.Do(req)
	if err != nil {
		return md, err
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	if resp.StatusCode != http.StatusOK {
		return md, fmt.Errorf("it answered %s; is this a Vultr instance?", resp.Status)
	}
	var doc metadataDoc
	if err := json.NewDecoder(io.LimitReader(resp.Body, metadataMaxBody)).Decode(&doc); err != nil {
		return md, fmt.Errorf("its answer cannot be decoded: %w", err)
	}
	return doc.metadata()
}

// metadataDoc is the part of /v1.json that is used.
type metadataDoc struct {
	Hostname   string `json:"hostname"`
	InstanceID string `json:"instance-v2-id"`
	Region     struct {
		Code string `json:"regioncode"`
	} `json:"region"`
	Interfaces []struct {
		Type string `json:"network-type"`
		IPv4 struct {
			Address string `json:"address"`
		} `json:"ipv4"`
		IPv6 struct {
			Address string `json:"address"`
		} `json:"ipv6"`
	} `json:"interfaces"`
}

func (d metadataDoc) metadata() (InstanceMetadata, error) {
	md := InstanceMetadata{InstanceID: d.InstanceID, Hostname: d.Hostname, Region: strings.ToLower(d.Region.Code), RegionCode: d.Region.Code}
	if !IsID(d.InstanceID) {
		return md, fmt.Errorf("its answer has no valid instance-v2-id: %q", d.InstanceID)
	}
	if md.Region == "" {
		return md, errors.New("its answer has no region code")
	}
	for _, i := range d.Interfaces {
		switch i.Type {
		case "public":
			md.PublicIP = orDefault(md.PublicIP, addressOf(i.IPv4.Address))
			md.PublicIPv6 = orDefault(md.PublicIPv6, addressOf(i.IPv6.Address))
		case "private", "evpn":
			md.PrivateIP = orDefault(md.PrivateIP, addressOf(i.IPv4.Address))
		}
	}
	return md, nil
}

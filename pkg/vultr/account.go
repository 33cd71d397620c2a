package vultr

import (
	"context"
	"strings"
	"time"

	"github.com/vultr/govultr/v3"
)

// Account proves that the key works and says whose it is.
func (c *Client) Account(ctx context.Context) (Account, error) {
	var answer struct {
		Account *govultr.Account `json:"account"`
	}
	if err := c.do(ctx, opGetAccount, "", "/v2/account", nil, &answer); err != nil {
		return Account{}, err
	}
	if answer.Account == nil {
		return Account{}, missing(opGetAccount, "")
	}
	return Account{Name: answer.Account.Name, ACLs: answer.Account.ACL}, nil
}

// KeyAccepted tells when the API last accepted the key, the zero time when it never did.
func (c *Client) KeyAccepted() time.Time {
	if at := c.accepted.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// Regions lists the platform's locations. What it answers can be 10 minutes old.
func (c *Client) Regions(ctx context.Context) ([]Region, error) {
	list, err := c.regions.within(ctx, regionsMaxAge)
	if err != nil {
		return nil, ended(opListRegions, err)
	}
	return list.Items, nil
}

type regionsAnswer struct {
	Regions []govultr.Region `json:"regions"`
	Meta    *govultr.Meta    `json:"meta"`
}

func (a *regionsAnswer) page() page[govultr.Region] { return page[govultr.Region]{a.Regions, a.Meta} }

func (c *Client) listRegions(ctx context.Context) ([]Region, error) {
	wire, err := listAll[regionsAnswer](ctx, c, opListRegions, "/v2/regions", func(r govultr.Region) string { return r.ID })
	if err != nil {
		return nil, err
	}
	regions := make([]Region, len(wire))
	for i, r := range wire {
		regions[i] = Region{ID: strings.ToLower(r.ID), Options: r.Options}
	}
	return regions, nil
}

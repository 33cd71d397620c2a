package providerid_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/cloud/providerid"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/vultr"
)

const uuid = "cb676a46-66fd-4dfb-b839-443f2e6c0b60"

func TestParse(t *testing.T) {
	tests := map[string]struct {
		in      string
		want    string
		unset   bool
		foreign bool
	}{
		"ours":                  {in: "vultr://" + uuid, want: uuid},
		"upper case":            {in: "vultr://" + strings.ToUpper(uuid), want: uuid},
		"not set":               {in: "", unset: true},
		"another cloud":         {in: "aws:///eu-central-1a/i-0123456789abcdef0", foreign: true},
		"bare UUID":             {in: uuid, foreign: true},
		"empty ID":              {in: "vultr://", foreign: true},
		"three slashes":         {in: "vultr:///" + uuid, foreign: true},
		"something behind":      {in: "vultr://" + uuid + "/x", foreign: true},
		"old numeric ID":        {in: "vultr://42872224", foreign: true},
		"dash in a wrong place": {in: "vultr://cb676a466-6fd-4dfb-b839-443f2e6c0b60", foreign: true},
		"not hexadecimal":       {in: "vultr://zb676a46-66fd-4dfb-b839-443f2e6c0b60", foreign: true},
		"scheme in upper case":  {in: "VULTR://" + uuid, foreign: true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := providerid.Parse(tt.in)
			_, foreign := errors.AsType[*providerid.ForeignError](err)
			if got != tt.want || errors.Is(err, providerid.ErrUnset) != tt.unset || foreign != tt.foreign {
				t.Errorf("Parse(%q) = %q, %v", tt.in, got, err)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("vultr://" + uuid)
	f.Add("")
	f.Add("vultr://")
	f.Add("aws:///eu-central-1a/i-0123456789abcdef0")
	f.Fuzz(func(t *testing.T, s string) {
		id, err := providerid.Parse(s)
		if (err == nil) != (id != "") {
			t.Fatalf("Parse(%q) = %q, %v: exactly one of both must be given", s, id, err)
		}
		if err != nil {
			return
		}
		if !vultr.IsID(id) || !strings.EqualFold(providerid.Format(id), s) {
			t.Fatalf("Parse(%q) = %q does not lead back", s, id)
		}
	})
}

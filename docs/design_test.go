package docs

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/status"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/rpcerr"
	"github.com/cloud-provider-vultr/cloud-provider-vultr/pkg/driver/volume"
)

// TestDesignHasTheCodes: the table of codes has that of every reason of an error.
func TestDesignHasTheCodes(t *testing.T) {
	content, err := os.ReadFile("csi-design.md")
	if err != nil {
		t.Fatal(err)
	}
	for reason := volume.Invalid; reason <= volume.Denied; reason++ {
		code := status.Code(rpcerr.Status(volume.Errorf(reason, "for a reason")))
		if !strings.Contains(string(content), "\n| `"+code.String()+"` |") {
			t.Errorf("the table lacks %s, the code of reason %d", code, reason)
		}
	}
}

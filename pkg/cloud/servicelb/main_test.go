package servicelb_test

import (
	"os"
	"testing"

	"github.com/cloud-provider-vultr/cloud-provider-vultr/internal/testkube"
)

func TestMain(m *testing.M) {
	testkube.KeepErrorsOutOfTime()
	os.Exit(m.Run())
}

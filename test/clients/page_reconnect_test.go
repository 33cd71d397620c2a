package clients

import (
	"net/http"
	"strings"
	"testing"
)

// TestPageReconnects: the page says that the cloud is gone, and shows the one that comes at the same address.
func TestPageReconnects(t *testing.T) {
	first := start(t)
	page := browser(t, first.admin)
	first.operator(http.MethodPost, "/instances", map[string]any{"label": "before"}, nil)
	awaitText(t, page, "before", true)
	evaluate[any](t, page, `window.loadedOnce = true`)
	first.stop()
	awaitText(t, page, "the connection is lost", true)
	second := start(t, "--admin-listen="+strings.TrimPrefix(first.admin, "http://"))
	awaitText(t, page, "the connection is lost", false)
	second.operator(http.MethodPost, "/instances", map[string]any{"label": "afterwards"}, nil)
	awaitText(t, page, "afterwards", true)
	awaitText(t, page, "before", false)
	if !evaluate[bool](t, page, `window.loadedOnce === true`) {
		t.Error("the page was loaded anew")
	}
}

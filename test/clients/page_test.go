package clients

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// browser opens a page in Chromium and gives what steers it.
func browser(t *testing.T, url string) context.Context {
	t.Helper()
	program, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no chromium: hack/ensure-packages clients installs it: ", err)
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(program), chromedp.WSURLReadTimeout(patience))
	if os.Geteuid() == 0 {
		options = append(options, chromedp.NoSandbox) // Chromium's sandbox wants an ordinary user
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx, chromedp.Navigate(url), chromedp.WaitVisible("#cloud")); err != nil {
		t.Fatal(err)
	}
	return ctx
}

func evaluate[T any](t *testing.T, page context.Context, expression string) (value T) {
	t.Helper()
	value, err := chromedp.Run(page, chromedp.Evaluate[T](expression))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// awaitText waits until the page shows a text, without being loaded again.
func awaitText(t *testing.T, page context.Context, part string, shown bool) {
	t.Helper()
	what := part + " on the page"
	if !shown {
		what = "no more " + what
	}
	await(t, what, func() bool {
		return strings.Contains(evaluate[string](t, page, `document.body.innerText`), part) == shown
	})
}

// TestPageIsLive watches a cloud in a browser: what happens is seen, over one connection.
func TestPageIsLive(t *testing.T) {
	c := start(t)
	page := browser(t, c.admin)
	awaitText(t, page, "live", true)
	evaluate[any](t, page, `window.loadedOnce = true`)
	awaitText(t, page, "worker-1", false)
	var made struct{ ID string }
	c.operator(http.MethodPost, "/instances", map[string]any{"label": "worker-1"}, &made)
	awaitText(t, page, "worker-1", true)

	var volume struct{ Block struct{ ID string } }
	c.call(http.MethodPost, c.api+"/v2/blocks", `{"region":"ewr","size_gb":10,"label":"data-1"}`, &volume)
	awaitText(t, page, "data-1 10 GB", true)
	awaitText(t, page, "create_block", true) // the request log

	var lb struct {
		LoadBalancer struct{ ID string } `json:"load_balancer"`
	}
	c.call(http.MethodPost, c.api+"/v2/load-balancers", `{"region":"ewr","label":"web-1","instances":["`+made.ID+`"],"forwarding_rules":[{"frontend_protocol":"tcp","frontend_port":8080,"backend_protocol":"tcp","backend_port":30080}]}`, &lb)
	awaitText(t, page, "web-1", true)

	var fault struct{ ID string }
	c.operator(http.MethodPost, "/faults", map[string]any{"id": "storm", "action": "status", "status": 503, "operation": "list_vfs"}, &fault)
	awaitText(t, page, "storm", true)
	c.operator(http.MethodDelete, "/faults/storm", nil, nil)
	awaitText(t, page, "storm", false)

	await(t, "the volume's end", func() bool {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, c.api+"/v2/blocks/"+volume.Block.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer secret")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		return response.StatusCode < 300
	})
	awaitText(t, page, "data-1 10 GB", false)
	if !evaluate[bool](t, page, `window.loadedOnce === true`) {
		t.Error("the page was loaded anew")
	}
	if n := evaluate[int](t, page, `performance.getEntriesByType("resource").filter(r => r.name.endsWith("/events")).length`); n > 1 {
		t.Errorf("%d connections for events", n)
	}
	if n := evaluate[int](t, page, `performance.getEntriesByType("resource").length`); n > 4 {
		t.Errorf("%d requests of one page", n)
	}
}

// TestPageShowsTextOnly puts markup into everything that clients name, and nothing of it comes to life.
func TestPageShowsTextOnly(t *testing.T) {
	c := start(t)
	const evil = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`
	const quoted = `<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>`
	c.operator(http.MethodPost, "/instances", map[string]any{"label": evil, "Hostname": evil}, nil)
	c.call(http.MethodPost, c.api+"/v2/blocks", `{"region":"ewr","size_gb":10,"label":"`+quoted+`"}`, nil)
	c.call(http.MethodPost, c.api+"/v2/load-balancers", `{"region":"ewr","label":"`+quoted+`"}`, nil)
	c.operator(http.MethodPost, "/faults", map[string]any{"id": evil, "action": "hang", "operation": evil, "path": "/nowhere<b>"}, nil)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.api+"/v2/account?"+"x=<script>document.title='owned'</script>", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("User-Agent", evil)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()

	page := browser(t, c.admin)
	awaitText(t, page, "live", true)
	c.operator(http.MethodPost, "/instances", map[string]any{"label": "afterwards"}, nil)
	awaitText(t, page, "afterwards", true) // by an event
	if n := strings.Count(evaluate[string](t, page, `document.body.innerText`), evil); n < 6 {
		t.Errorf("the markup is shown as text %d times", n)
	}
	if n := evaluate[int](t, page, `document.querySelectorAll("#cloud img, #cloud script, #cloud b").length`); n != 0 {
		t.Errorf("%d elements came out of names", n)
	}
	if title := evaluate[string](t, page, `document.title`); title != "Simulated cloud" {
		t.Errorf("title %q", title)
	}
}

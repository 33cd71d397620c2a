// Package conformance is Kubernetes' own test suite for storage and for load balancers, as a program: the packages of
// k8s.io/kubernetes/test/e2e that test external drivers, and those of the network, without the tests of all else, which take
// several times as long to build. Beside it is what the suite is told: the definitions, and which tests are skipped, and why.
package conformance

// What the program consists of, here and not in the test's file, so that go build can compile it too and tell how far it is.
import (
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/e2e/framework/debug/init"
	_ "k8s.io/kubernetes/test/e2e/framework/metrics/init"
	_ "k8s.io/kubernetes/test/e2e/framework/node/init"
	_ "k8s.io/kubernetes/test/e2e/network"
	_ "k8s.io/kubernetes/test/e2e/storage/external"
	_ "k8s.io/kubernetes/test/e2e/testing-manifests"
	_ "k8s.io/kubernetes/test/utils/ktesting/format"
)

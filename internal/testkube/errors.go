package testkube

import utilruntime "k8s.io/apimachinery/pkg/util/runtime"

// KeepErrorsOutOfTime takes away the pause that client-go makes after each error that nobody handles. It is measured by one
// clock for the whole program: in the fake time of a test the last error may lie in another test's future, or at the real
// time of the program's start, and the pause takes years then. For TestMain, before anything runs.
func KeepErrorsOutOfTime() {
	utilruntime.ErrorHandlers = utilruntime.ErrorHandlers[:1] //nolint:reassign // there is no other way
}

// Package soak lets volumes and snapshots live random lives under random faults, and compares what the platform has with
// what a model says.
//
// A plan, made from a seed, is a list of steps: calls as the sidecars and the kubelet make them, faults of the API, reads
// that lag, controllers that are killed, frozen and thawed, instances that are destroyed, node plugins that restart. Every
// so often the faults stop, what is under way is brought to its end, and the platform's own view and the machines are
// looked at; the driver's words are never taken for that. It all happens in the time of testing/synctest.
//
// A plan that fails is made shorter by leaving out steps while it still fails. Not with a library for property tests: what
// runs side by side in the driver is not scheduled the same way twice, and those give up on the first try that does not
// fail again.
//
// None of the volumes is encrypted: not every machine's kernel can. Those live in test/vm, see TestEncryptedLives there.
package soak

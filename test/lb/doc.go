// Package lb shows that nothing that goes wrong around load balancers makes a second one, loses one, or touches one of
// somebody else.
//
// The controller of servicelb runs with the real API client, in front of the simulated cloud and of client-go's fake API
// server, to which are added what it lacks: versions, conflicts, and finalizers that hold up a deletion. It all happens in the
// time of testing/synctest. What is right is told from the platform's own view and the objects in the API server, never from
// what the controller says.
//
//   - TestEveryPoint counts the API calls and the writes to the API server of each script (a load balancer is made, renamed,
//     changed, shared, handed on, drifts, is adopted, goes ...), and runs the script once for each of these points with something going wrong right
//     there: the process is killed, the answer is lost, cut off, an error, or never comes. Nobody lists the points: a new call is
//     one of them because it is made.
//   - TestStorm, TestHourWithoutAPI and TestLateLists are platforms that are unwell for long.
//   - TestSoak lets random Services, nodes, Secrets and ConfigMaps live under random faults. A plan that fails is made shorter
//     by leaving out steps while it still fails.
//   - TestPublished applies Services as people publish them.
//   - TestAccount goes the way of a load balancer, from its creation to its end, with a machine behind it. It can do so in a real account.
//
// The benchmarks are figures of the whole program in the same world: what it costs in calls, and how soon it acts.
package lb

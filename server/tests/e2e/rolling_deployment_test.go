package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
	"golang.org/x/sync/errgroup"

	"example.com/verification-status/server/tests/rig"
)

// fakeDeployment runs replicas as Kubernetes would: each at an address of its own, all at one port.
type fakeDeployment struct {
	t           *testing.T
	settings    []string
	replicas    int
	preStop     time.Duration // faster than it is
	stop        time.Duration // what the grace period leaves for a stop, as long as it is
	port        string
	in          endpoints
	started     []*rig.Process
	terminating errgroup.Group
}

// newFakeDeployment has the numbers of the Deployment in deploy/kubernetes. It imitates an update in which a new replica is
// ready before an old one ends, and fails the test if the Deployment says otherwise.
func newFakeDeployment(t *testing.T, pace time.Duration, settings []string) *fakeDeployment {
	t.Helper()
	text, err := os.ReadFile(rig.Path("server", "deploy", "kubernetes", "deployment.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var deployment struct {
		Spec struct {
			Replicas int
			Strategy struct {
				RollingUpdate struct {
					MaxSurge       int `yaml:"maxSurge"`
					MaxUnavailable int `yaml:"maxUnavailable"`
				} `yaml:"rollingUpdate"`
			}
			Template struct {
				Spec struct {
					Grace      int `yaml:"terminationGracePeriodSeconds"`
					Containers []struct {
						Env       []struct{ Name, Value string }
						Lifecycle struct {
							PreStop struct{ Sleep struct{ Seconds int } } `yaml:"preStop"`
						}
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &deployment); err != nil {
		t.Fatal(err)
	}
	spec, pod := deployment.Spec, deployment.Spec.Template.Spec
	if spec.Replicas != 3 || spec.Strategy.RollingUpdate.MaxSurge != 1 || spec.Strategy.RollingUpdate.MaxUnavailable != 0 || len(pod.Containers) != 1 {
		t.Fatalf("this test knows another Deployment than %+v", spec)
	}
	var env []string
	for _, e := range pod.Containers[0].Env {
		if !strings.HasSuffix(e.Name, "_ADDR") && !strings.HasSuffix(e.Name, "_FILE") { // which are the machine's
			env = append(env, e.Name+"="+e.Value)
		}
	}
	free, err := net.Listen("tcp", "127.0.0.11:0")
	if err != nil {
		rig.SkipOrFail(t, "this machine has no 127.0.0.11: ip addr add 127.0.0.11/8 dev lo")
	}
	_ = free.Close()
	_, port, err := net.SplitHostPort(free.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	preStop := time.Duration(pod.Containers[0].Lifecycle.PreStop.Sleep.Seconds) * time.Second
	c := &fakeDeployment{
		t: t, settings: append(settings, env...), replicas: spec.Replicas, port: port,
		preStop: preStop / pace, stop: time.Duration(pod.Grace)*time.Second - preStop,
	}
	t.Logf("preStop %v at a pace of %d, then %v for the stop; %v", preStop, pace, c.stop, env)
	return c
}

// start runs a new replica at a new address, until it is ready.
func (c *fakeDeployment) start() *rig.Process {
	c.t.Helper()
	ip := fmt.Sprintf("127.0.0.%d", 11+len(c.started))
	p := rig.Serve(c.t, append(slices.Clone(c.settings), "GRPC_ADDR="+ip+":"+c.port, "WEBHOOK_ADDR="+ip+":0", "ADMIN_ADDR="+ip+":0"))
	c.started = append(c.started, p)
	return p
}

// delete does what Kubernetes does with a pod that is no longer an endpoint: preStop, while clients with an old list of
// endpoints still come, then SIGTERM, then the wait for its end. The next replica is replaced without that wait.
func (c *fakeDeployment) delete(p *rig.Process) {
	c.terminating.Go(func() error {
		select {
		case <-p.Ended:
			return errors.New("a replica ended in its preStop")
		case <-time.After(c.preStop): // which is Kubernetes' sleep, not this test's
		}
		if err := p.Cmd.Process.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-p.Ended:
		case <-time.After(c.stop):
			return fmt.Errorf("a replica has not ended %v after SIGTERM: Kubernetes would kill it", c.stop)
		}
		if code := p.Cmd.ProcessState.ExitCode(); code != 0 || strings.Contains(p.Stderr.String(), "cut off") {
			return fmt.Errorf("a replica ended with %d, or cut something off", code)
		}
		return nil
	})
}

// wait until all that were deleted have ended as they should.
func (c *fakeDeployment) wait() {
	c.t.Helper()
	if err := c.terminating.Wait(); err != nil {
		c.t.Error(err)
	}
	for _, p := range c.started {
		if strings.Contains(p.Stderr.String(), `"level":"ERROR"`) {
			c.t.Errorf("a replica complains: %s", rig.Tail(p.Stderr.String()))
		}
	}
}

// endpoints are the replicas that get new work, now and at each earlier time: clients learn of a change late.
type endpoints struct {
	mu     sync.Mutex
	states []endpointsState
}

type endpointsState struct {
	since time.Time
	in    []*rig.Process
}

// begin with these: it has always been so.
func (e *endpoints) begin(in []*rig.Process) {
	e.states = []endpointsState{{in: slices.Clone(in)}}
}

// change takes one in and another out.
func (e *endpoints) change(in, out *rig.Process) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := append(slices.Clone(e.states[len(e.states)-1].in), in)
	next = slices.DeleteFunc(next, func(p *rig.Process) bool { return p == out })
	e.states = append(e.states, endpointsState{time.Now(), next})
}

// before is how it was a while ago.
func (e *endpoints) before(lag time.Duration) []*rig.Process {
	e.mu.Lock()
	defer e.mu.Unlock()
	when := time.Now().Add(-lag)
	for _, state := range slices.Backward(e.states) {
		if !state.since.After(when) {
			return state.in
		}
	}
	return nil
}

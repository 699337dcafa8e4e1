// A plugin that does what a test tells it: github.com/containerd/nri with JSON lines on stdin and stdout.
//
// Each event is a line {"id": 1, "event": "CreateContainer", "pod": ..., "container": ...}. An event that -hold names waits
// for a line {"id": 1, "error": "...", "adjust": {...}, "update": [...]}; every other one is answered with nothing. A line
// {"update": [...]} without id asks the runtime for changes, which it answers with a line {"failed": [...]} or {"error": ...}.
// A plugin that the runtime starts has no stdin; it writes to the file that its configuration is.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

type answer struct {
	ID     int               `json:"id"`
	Error  string            `json:"error"`
	Adjust json.RawMessage   `json:"adjust"`
	Update []json.RawMessage `json:"update"`
}

type plugin struct {
	stub    stub.Stub
	hold    []string
	mutex   sync.Mutex
	out     io.Writer
	last    int
	waiting map[int]chan answer
}

func (p *plugin) print(fields map[string]any) {
	line, err := json.Marshal(fields)
	if err != nil {
		log.Fatal(err)
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	fmt.Fprintf(p.out, "%s\n", line)
}

// tell prints an event and waits for what the test says to it, where it wants to say something.
func (p *plugin) tell(ctx context.Context, event string, messages map[string]proto.Message) (answer, error) {
	fields := map[string]any{"event": event}
	for name, message := range messages {
		text, err := protojson.Marshal(message)
		if err != nil {
			return answer{}, err
		}
		fields[name] = json.RawMessage(text)
	}
	p.mutex.Lock()
	p.last++
	id := p.last
	waiting := make(chan answer, 1)
	p.waiting[id] = waiting
	p.mutex.Unlock()
	fields["id"] = id
	p.print(fields)
	if !slices.Contains(p.hold, event) {
		return answer{}, nil
	}
	select {
	case said := <-waiting:
		if said.Error != "" {
			return said, errors.New(said.Error)
		}
		return said, nil
	case <-ctx.Done():
		return answer{}, ctx.Err()
	}
}

func (p *plugin) pod(ctx context.Context, event string, pod *api.PodSandbox) error {
	_, err := p.tell(ctx, event, map[string]proto.Message{"pod": pod})
	return err
}

func (p *plugin) container(ctx context.Context, event string, pod *api.PodSandbox, container *api.Container) (answer, error) {
	return p.tell(ctx, event, map[string]proto.Message{"pod": pod, "container": container})
}

func updates(said answer) ([]*api.ContainerUpdate, error) {
	var all []*api.ContainerUpdate
	for _, text := range said.Update {
		update := &api.ContainerUpdate{}
		if err := protojson.Unmarshal(text, update); err != nil {
			return nil, err
		}
		all = append(all, update)
	}
	return all, nil
}

func (p *plugin) Configure(_ context.Context, config, runtime, version string) (stub.EventMask, error) {
	if config != "" {
		file, err := os.OpenFile(strings.TrimSpace(config), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return 0, err
		}
		p.out = file
	}
	p.print(map[string]any{"event": "Configure", "runtime": runtime, "version": version, "nri": p.stub.RuntimeNRIVersion()})
	return 0, nil
}

func (p *plugin) Synchronize(ctx context.Context, pods []*api.PodSandbox, containers []*api.Container) ([]*api.ContainerUpdate, error) {
	message := &api.SynchronizeRequest{Pods: pods, Containers: containers}
	said, err := p.tell(ctx, "Synchronize", map[string]proto.Message{"all": message})
	if err != nil {
		return nil, err
	}
	return updates(said)
}

func (p *plugin) RunPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return p.pod(ctx, "RunPodSandbox", pod)
}

func (p *plugin) UpdatePodSandbox(ctx context.Context, pod *api.PodSandbox, _, resources *api.LinuxResources) error {
	_, err := p.tell(ctx, "UpdatePodSandbox", map[string]proto.Message{"pod": pod, "resources": resources})
	return err
}

func (p *plugin) PostUpdatePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return p.pod(ctx, "PostUpdatePodSandbox", pod)
}

func (p *plugin) StopPodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return p.pod(ctx, "StopPodSandbox", pod)
}

func (p *plugin) RemovePodSandbox(ctx context.Context, pod *api.PodSandbox) error {
	return p.pod(ctx, "RemovePodSandbox", pod)
}

func (p *plugin) CreateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	said, err := p.container(ctx, "CreateContainer", pod, container)
	if err != nil {
		return nil, nil, err
	}
	adjust := &api.ContainerAdjustment{}
	if len(said.Adjust) > 0 {
		if err := protojson.Unmarshal(said.Adjust, adjust); err != nil {
			return nil, nil, err
		}
	}
	all, err := updates(said)
	return adjust, all, err
}

func (p *plugin) PostCreateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.container(ctx, "PostCreateContainer", pod, container)
	return err
}

func (p *plugin) StartContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.container(ctx, "StartContainer", pod, container)
	return err
}

func (p *plugin) PostStartContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.container(ctx, "PostStartContainer", pod, container)
	return err
}

func (p *plugin) UpdateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container, resources *api.LinuxResources) ([]*api.ContainerUpdate, error) {
	messages := map[string]proto.Message{"pod": pod, "container": container, "resources": resources}
	said, err := p.tell(ctx, "UpdateContainer", messages)
	if err != nil {
		return nil, err
	}
	return updates(said)
}

func (p *plugin) PostUpdateContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.container(ctx, "PostUpdateContainer", pod, container)
	return err
}

func (p *plugin) StopContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) ([]*api.ContainerUpdate, error) {
	said, err := p.container(ctx, "StopContainer", pod, container)
	if err != nil {
		return nil, err
	}
	return updates(said)
}

func (p *plugin) RemoveContainer(ctx context.Context, pod *api.PodSandbox, container *api.Container) error {
	_, err := p.container(ctx, "RemoveContainer", pod, container)
	return err
}

func (p *plugin) ValidateContainerAdjustment(ctx context.Context, request *api.ValidateContainerAdjustmentRequest) error {
	_, err := p.tell(ctx, "ValidateContainerAdjustment", map[string]proto.Message{"request": request})
	return err
}

func (p *plugin) listen() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var said answer
		if err := json.Unmarshal(lines.Bytes(), &said); err != nil {
			log.Fatal(err)
		}
		if said.ID != 0 {
			p.mutex.Lock()
			p.waiting[said.ID] <- said
			p.mutex.Unlock()
			continue
		}
		all, err := updates(said)
		if err != nil {
			log.Fatal(err)
		}
		failed, err := p.stub.UpdateContainers(all)
		if err != nil {
			p.print(map[string]any{"error": err.Error()})
		} else {
			p.print(map[string]any{"failed": failed})
		}
	}
}

func main() {
	socket := flag.String("socket", "", "where the runtime listens")
	name := flag.String("name", "", "of the plugin")
	index := flag.String("index", "", "two digits")
	hold := flag.String("hold", "", "events, with commas, that wait for an answer on stdin")
	flag.Parse()

	var options []stub.Option
	if *name != "" {
		options = append(options, stub.WithPluginName(*name), stub.WithPluginIdx(*index), stub.WithSocketPath(*socket))
	}
	p := &plugin{hold: strings.Split(*hold, ","), out: os.Stdout, waiting: map[int]chan answer{}}
	var err error
	if p.stub, err = stub.New(p, options...); err != nil {
		log.Fatal(err)
	}
	go p.listen()
	if err := p.stub.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

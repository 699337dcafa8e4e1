// A shim of containerd's API version 2 for tests: it runs processes in the bundle's root file system and nothing more.
// It behaves as Kata's does where that differs from other shims, and badly where fake.json beside the program says so.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	task "github.com/containerd/containerd/api/runtime/task/v2"
	types "github.com/containerd/containerd/api/types/task"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

type behaviour struct {
	// What start does: "" as Kata's; nonsense, empty, hang, flood, fork, fail.
	Start string
	// Before the call of this name the shim ends.
	Dies string
	// The call of this name has an answer that is no message of its type.
	Garbage string
	// The call of this name sends 100 MB.
	Flood string
	// The call of this name never returns.
	Hangs string
	// A pod's Create takes so long.
	CreateMs int
	// Delete fails so long after the end.
	DeleteFailsMs int
}

type flags struct{ namespace, address, id, bundle, action string }

func main() {
	f := parse(os.Args[1:])
	b := read()
	var err error
	switch f.action {
	case "start":
		err = start(f, b)
	case "delete":
		err = remove(f)
	case "serve":
		err = serve(b)
	default:
		err = fmt.Errorf("no action %q", f.action)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func parse(args []string) flags {
	var f flags
	for i := 0; i < len(args); i++ {
		next := func() string { i++; return args[i] }
		switch args[i] {
		case "-namespace":
			f.namespace = next()
		case "-address":
			f.address = next()
		case "-id":
			f.id = next()
		case "-bundle":
			f.bundle = next()
		case "-publish-binary":
			next()
		default:
			f.action = args[i]
		}
	}
	return f
}

func read() (b behaviour) {
	self, _ := os.Executable()
	text, err := os.ReadFile(filepath.Join(filepath.Dir(self), "fake.json"))
	if err == nil {
		err = json.Unmarshal(text, &b)
	}
	if err != nil && !os.IsNotExist(err) {
		panic(err)
	}
	return b
}

func sandboxOf() (string, error) {
	var spec struct{ Annotations map[string]string }
	text, err := os.ReadFile("config.json")
	if err != nil {
		return "", err
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return "", err
	}
	if spec.Annotations["io.kubernetes.cri.container-type"] != "container" {
		return "", nil
	}
	return spec.Annotations["io.kubernetes.cri.sandbox-id"], nil
}

func start(f flags, b behaviour) error {
	switch b.Start {
	case "nonsense":
		fmt.Println("I would rather not listen anywhere")
		return nil
	case "empty":
		return nil
	case "fail":
		return errors.New("fake shim: no luck today")
	case "flood":
		for i := 0; i < 100; i++ {
			os.Stdout.Write(make([]byte, 1<<20))
		}
		return nil
	case "hang":
		time.Sleep(time.Hour)
	}
	sandbox, err := sandboxOf()
	if err != nil {
		return err
	}
	if sandbox != "" {
		address, err := os.ReadFile(filepath.Join("..", sandbox, "address"))
		if err != nil {
			return err
		}
		if err := os.WriteFile("address", address, 0o600); err != nil {
			return err
		}
		fmt.Print(string(address))
		return nil
	}
	path := filepath.Join(os.TempDir(), "fake-"+f.id[:16])
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	server := exec.Command(self, "-namespace", f.namespace, "-id", f.id, "serve")
	server.ExtraFiles = []*os.File{file}
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if b.Start == "fork" {
		// It keeps what whoever started us reads from.
		server.Stdout, server.Stderr = os.Stdout, os.Stderr
	}
	if err := server.Start(); err != nil {
		return err
	}
	address := "unix://" + path
	if err := os.WriteFile("address", []byte(address), 0o600); err != nil {
		return err
	}
	fmt.Print(address)
	return nil
}

func remove(f flags) error {
	if _, err := os.Stat("created"); err != nil {
		return fmt.Errorf("fake shim: %s was never created", f.id)
	}
	if pid, err := os.ReadFile("group"); err == nil {
		var n int
		fmt.Sscan(string(pid), &n)
		if n > 1 {
			syscall.Kill(-n, syscall.SIGKILL)
		}
	}
	bytes, err := proto.Marshal(&task.DeleteResponse{ExitStatus: 137, ExitedAt: timestamppb.Now()})
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(bytes)
	return err
}

type process struct {
	cmd      *exec.Cmd
	args     []string
	dir      string
	stdin    string
	stdout   string
	stderr   string
	started  bool
	done     chan struct{}
	code     uint32
	at       time.Time
	inputEnd func()
}

type shim struct {
	b         behaviour
	server    *ttrpc.Server
	mu        sync.Mutex
	processes map[string]*process
	bundles   map[string]string
}

func serve(b behaviour) error {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		return err
	}
	s := &shim{b: b, processes: map[string]*process{}, bundles: map[string]string{}}
	server, err := ttrpc.NewServer(ttrpc.WithUnaryServerInterceptor(s.intercept))
	if err != nil {
		return err
	}
	s.server = server
	task.RegisterTTRPCTaskService(server, s)
	return server.Serve(context.Background(), listener)
}

func (s *shim) intercept(ctx context.Context, unmarshal ttrpc.Unmarshaler, info *ttrpc.UnaryServerInfo, method ttrpc.Method) (any, error) {
	name := info.FullMethod[strings.LastIndex(info.FullMethod, "/")+1:]
	switch name {
	case s.b.Dies:
		os.Exit(3)
	case s.b.Hangs:
		select {}
	case s.b.Garbage:
		return &task.ExecProcessRequest{ID: strings.Repeat("\xff", 3), ExecID: "garbage"}, nil
	case s.b.Flood:
		return &task.ExecProcessRequest{ID: strings.Repeat("a", 100<<20)}, nil
	}
	return method(ctx, unmarshal)
}

func key(id, execID string) string { return id + "/" + execID }

func (s *shim) get(id, execID string) (*process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.processes[key(id, execID)]; ok {
		return p, nil
	}
	return nil, status.Errorf(codes.NotFound, "no process %s %s", id, execID)
}

func (s *shim) add(id, execID string, p *process) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.done = make(chan struct{})
	s.processes[key(id, execID)] = p
}

func (s *shim) Create(_ context.Context, r *task.CreateTaskRequest) (*task.CreateTaskResponse, error) {
	var spec struct {
		Process     struct{ Args []string }
		Annotations map[string]string
	}
	text, err := os.ReadFile(filepath.Join(r.Bundle, "config.json"))
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return nil, err
	}
	if spec.Annotations["io.kubernetes.cri.container-type"] == "sandbox" {
		time.Sleep(time.Duration(s.b.CreateMs) * time.Millisecond)
	}
	if err := os.WriteFile(filepath.Join(r.Bundle, "created"), nil, 0o600); err != nil {
		return nil, err
	}
	s.mu.Lock()
	s.bundles[r.ID] = r.Bundle
	s.mu.Unlock()
	s.add(r.ID, "", &process{args: spec.Process.Args, dir: r.Bundle, stdin: r.Stdin, stdout: r.Stdout, stderr: r.Stderr})
	// Everything's pid is that of the machine.
	return &task.CreateTaskResponse{Pid: uint32(os.Getpid())}, nil
}

func open(path string, flag int) (*os.File, error) {
	if path == "" {
		return os.OpenFile("/dev/null", os.O_RDWR, 0)
	}
	return os.OpenFile(path, flag, 0)
}

func (s *shim) Start(_ context.Context, r *task.StartRequest) (*task.StartResponse, error) {
	p, err := s.get(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	stdout, err := open(p.stdout, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	stderr, err := open(p.stderr, os.O_RDWR)
	if err != nil {
		return nil, err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	if p.stdin != "" {
		stdin, err := os.OpenFile(p.stdin, os.O_RDWR, 0)
		if err != nil {
			return nil, err
		}
		go func() { io.Copy(write, stdin) }()
		p.inputEnd = func() { time.Sleep(50 * time.Millisecond); stdin.Close(); write.Close() }
	} else {
		write.Close()
	}
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Dir = "/"
	cmd.Env = []string{"PATH=/bin"}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = read, stdout, stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: filepath.Join(s.bundles[r.ID], "rootfs"), Setsid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	if r.ExecID == "" {
		os.WriteFile(filepath.Join(p.dir, "group"), []byte(fmt.Sprint(cmd.Process.Pid)), 0o600)
	}
	read.Close()
	p.cmd, p.started = cmd, true
	go func() {
		err := cmd.Wait()
		p.code = 0
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			ws := exit.Sys().(syscall.WaitStatus)
			p.code = uint32(ws.ExitStatus())
			if ws.Signaled() {
				p.code = 128 + uint32(ws.Signal())
			}
		}
		p.at = time.Now()
		stdout.Close()
		stderr.Close()
		close(p.done)
	}()
	return &task.StartResponse{Pid: uint32(os.Getpid())}, nil
}

func (s *shim) Delete(_ context.Context, r *task.DeleteRequest) (*task.DeleteResponse, error) {
	p, err := s.get(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	wait := time.Duration(s.b.DeleteFailsMs) * time.Millisecond
	if p.started && (!p.ended() || time.Since(p.at) < wait) {
		return nil, status.Errorf(codes.Unknown, "Process %s is not ready or stopped", r.ID)
	}
	s.mu.Lock()
	delete(s.processes, key(r.ID, r.ExecID))
	if r.ExecID == "" {
		for k := range s.processes {
			if strings.HasPrefix(k, r.ID+"/") {
				delete(s.processes, k)
			}
		}
	}
	s.mu.Unlock()
	return &task.DeleteResponse{ExitStatus: p.code, ExitedAt: timestamppb.New(p.at)}, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (s *shim) Wait(_ context.Context, r *task.WaitRequest) (*task.WaitResponse, error) {
	p, err := s.get(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	<-p.done
	if r.ExecID != "" {
		return &task.WaitResponse{ExitStatus: p.code, ExitedAt: timestamppb.New(time.Time{})}, nil
	}
	return &task.WaitResponse{ExitStatus: p.code, ExitedAt: timestamppb.New(p.at)}, nil
}

func (s *shim) State(_ context.Context, r *task.StateRequest) (*task.StateResponse, error) {
	p, err := s.get(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	state := types.Status_CREATED
	if p.started {
		state = types.Status_RUNNING
		if p.ended() {
			state = types.Status_STOPPED
		}
	}
	return &task.StateResponse{ID: r.ID, Pid: uint32(os.Getpid()), Status: state}, nil
}

func (s *shim) Kill(_ context.Context, r *task.KillRequest) (*emptypb.Empty, error) {
	p, err := s.get(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	if p.cmd == nil {
		p.started = true
		p.code, p.at = 137, time.Now()
		close(p.done)
		return &emptypb.Empty{}, nil
	}
	target := p.cmd.Process.Pid
	if r.All || r.Signal == 9 {
		target = -target
	}
	syscall.Kill(target, syscall.Signal(r.Signal))
	return &emptypb.Empty{}, nil
}

func (s *shim) Exec(_ context.Context, r *task.ExecProcessRequest) (*emptypb.Empty, error) {
	var spec struct{ Args []string }
	if err := json.Unmarshal(r.Spec.Value, &spec); err != nil {
		return nil, err
	}
	if _, err := s.get(r.ID, ""); err != nil {
		return nil, err
	}
	s.add(r.ID, r.ExecID, &process{args: spec.Args, stdin: r.Stdin, stdout: r.Stdout, stderr: r.Stderr})
	return &emptypb.Empty{}, nil
}

func (s *shim) CloseIO(_ context.Context, r *task.CloseIORequest) (*emptypb.Empty, error) {
	p, err := s.get(r.ID, r.ExecID)
	if err == nil && p.inputEnd != nil {
		p.inputEnd()
	}
	return &emptypb.Empty{}, err
}

func (s *shim) Shutdown(context.Context, *task.ShutdownRequest) (*emptypb.Empty, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.processes) > 0 {
		return &emptypb.Empty{}, nil
	}
	os.Exit(0) // before it has answered
	return nil, nil
}

func (s *shim) Pids(_ context.Context, r *task.PidsRequest) (*task.PidsResponse, error) {
	if _, err := s.get(r.ID, ""); err != nil {
		return nil, err
	}
	return &task.PidsResponse{Processes: []*types.ProcessInfo{{Pid: uint32(os.Getpid())}}}, nil
}

func (s *shim) Connect(_ context.Context, r *task.ConnectRequest) (*task.ConnectResponse, error) {
	if _, err := s.get(r.ID, ""); err != nil {
		return nil, err
	}
	return &task.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: uint32(os.Getpid())}, nil
}

func unimplemented() (*emptypb.Empty, error) {
	return nil, status.Error(codes.Unimplemented, "not in a fake")
}

func (s *shim) Pause(context.Context, *task.PauseRequest) (*emptypb.Empty, error) {
	return unimplemented()
}
func (s *shim) Resume(context.Context, *task.ResumeRequest) (*emptypb.Empty, error) {
	return unimplemented()
}
func (s *shim) Checkpoint(context.Context, *task.CheckpointTaskRequest) (*emptypb.Empty, error) {
	return unimplemented()
}
func (s *shim) ResizePty(context.Context, *task.ResizePtyRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}
func (s *shim) Update(context.Context, *task.UpdateTaskRequest) (*emptypb.Empty, error) {
	return &emptypb.Empty{}, nil
}
func (s *shim) Stats(context.Context, *task.StatsRequest) (*task.StatsResponse, error) {
	return nil, status.Error(codes.Unimplemented, "not in a fake")
}

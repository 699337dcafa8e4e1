import { expect, test } from "bun:test";
import { type HostPort, listeningPorts, refuseTakenPorts } from "./ports.ts";

const tcp = (port: number, address = ""): HostPort => ({ protocol: "tcp", port, address });
const held = (port: HostPort) => ({ ...port, name: () => "pod web" });

test.each([
  [tcp(80), tcp(80), true],
  [tcp(80), tcp(81), false],
  [tcp(80), { ...tcp(80), protocol: "udp" as const }, false],
  [tcp(80, "127.0.0.1"), tcp(80, "127.0.0.2"), false],
  [tcp(80, "127.0.0.1"), tcp(80, "0.0.0.0"), true],
  [tcp(80), tcp(80, "127.0.0.1"), true],
  [tcp(80, "::1"), tcp(80, "0:0:0:0:0:0:0:1"), true],
  [tcp(80, "127.0.0.1"), tcp(80, "::ffff:127.0.0.1"), true],
  [tcp(80, "127.0.0.1"), tcp(80, "0:0:0:0:0:0:0:0"), true],
])("refuseTakenPorts() of %j where %j is held: %p", (wanted, holder, isTaken) => {
  const attempt = () => refuseTakenPorts([wanted], [held(holder)]);
  if (isTaken) expect(attempt).toThrow(/^port 80\/tcp.* is taken by pod web$/);
  else attempt();
});

test("refuseTakenPorts() refuses a port that is asked for twice", () => {
  expect(() => refuseTakenPorts([tcp(80), tcp(80, "127.0.0.1")], [])).toThrow("this pod too");
});

test("listeningPorts() finds what this process has opened, and names it", async () => {
  using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  using server6 = Bun.listen({ hostname: "::1", port: 0, socket: { data() {} } });
  const udp = await Bun.udpSocket({ hostname: "127.0.0.1" });
  try {
    const ports = listeningPorts();
    const found = ports.find(({ port, protocol }) => protocol === "tcp" && port === server.port);
    expect(found?.address).toBe("127.0.0.1");
    expect(found?.name()).toContain(`(pid ${process.pid})`);
    const wanted = { ...tcp(server6.port, "::1") };
    expect(() => refuseTakenPorts([wanted], ports)).toThrow(`(pid ${process.pid})`);
    const wantedUdp = { ...tcp(udp.port), protocol: "udp" as const };
    expect(() => refuseTakenPorts([wantedUdp], ports)).toThrow("is taken by process");
  } finally {
    udp.close();
  }
});

/*
 * Messages of rtnetlink(7). All numbers are in the machine's order, which is little-endian wherever we run.
 */

const RTM_NEWLINK = 16;
const RTM_DELLINK = 17;
const RTM_GETLINK = 18;
const RTM_SETLINK = 19;
const RTM_NEWADDR = 20;
const RTM_NEWROUTE = 24;

const NLM_F_REQUEST = 0x1;
const NLM_F_ACK = 0x4;
const NLM_F_EXCL = 0x200;
const NLM_F_CREATE = 0x400;

const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_MASTER = 10;
const IFLA_PROTINFO = 12;
const IFLA_TXQLEN = 13;
const IFLA_LINKINFO = 18;
const IFLA_NET_NS_FD = 28;
const IFLA_EXT_MASK = 29;
const IFLA_INFO_KIND = 1;
const IFLA_INFO_DATA = 2;
const IFLA_BRPORT_MODE = 4;
const VETH_INFO_PEER = 1;
const RTEXT_FILTER_SKIP_STATS = 1 << 3;
const NLA_F_NESTED = 0x8000;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_BROADCAST = 4;

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RTN_UNICAST = 1;

const AF_BRIDGE = 7;
const IFF_UP = 1;

export const AF_INET = 2;
export const AF_INET6 = 10;

/** What a message about an interface has to be given when it is sent: where its index and a MAC address stand. */
export interface Holes {
  readonly index?: number;
  readonly master?: number;
  readonly mac?: number;
}

export interface Message {
  readonly bytes: Buffer;
  readonly holes: Holes;
}

const headSize = 16;
const ifinfomsgSize = 16;
/** Of the index in struct ifinfomsg and in struct ifaddrmsg alike. */
const indexAt = headSize + 4;

/** The veth pair of a pod, made in its namespace; the peer is in the namespace of that descriptor, with the same MTU. */
export function newVeth(name: string, peer: string, mtu: number, peerNamespace: number): Message {
  const size = mtu > 0 ? [attribute(IFLA_MTU, u32(mtu))] : [];
  const other = attribute(
    VETH_INFO_PEER,
    Buffer.alloc(ifinfomsgSize),
    attribute(IFLA_IFNAME, text(peer)),
    ...size,
    // As the plugin has it; there is no queue on this end either way.
    attribute(IFLA_TXQLEN, u32(0)),
    attribute(IFLA_NET_NS_FD, u32(peerNamespace)),
  );
  return link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0, [
    attribute(IFLA_IFNAME, text(name)),
    ...size,
    attribute(
      IFLA_LINKINFO,
      attribute(IFLA_INFO_KIND, Buffer.from("veth")),
      attribute(IFLA_INFO_DATA, other),
    ),
  ]);
}

export function newBridge(name: string, mtu: number): Message {
  return link(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, 0, [
    attribute(IFLA_IFNAME, text(name)),
    ...(mtu > 0 ? [attribute(IFLA_MTU, u32(mtu))] : []),
    attribute(IFLA_LINKINFO, attribute(IFLA_INFO_KIND, Buffer.from("bridge"))),
  ]);
}

/** Without an acknowledgement: the response is one. */
export function getLink(name: string): Message {
  return link(RTM_GETLINK, 0, 0, [
    attribute(IFLA_IFNAME, text(name)),
    attribute(IFLA_EXT_MASK, u32(RTEXT_FILTER_SKIP_STATS)),
  ]);
}

export function deleteLink(name: string): Message {
  return link(RTM_DELLINK, NLM_F_ACK, 0, [attribute(IFLA_IFNAME, text(name))]);
}

/** Returns the index. */
export function linkUp(): Message {
  return withHoles(link(RTM_NEWLINK, NLM_F_ACK, IFF_UP, []), { index: indexAt });
}

/** Returns the index, and that of the master. */
export function setMaster(): Message {
  const { bytes } = link(RTM_SETLINK, NLM_F_ACK, 0, [attribute(IFLA_MASTER, u32(0))]);
  return { bytes, holes: { index: indexAt, master: bytes.byteLength - 4 } };
}

/** Returns the index: a port of a bridge that sends back what came by it. */
export function hairpin(): Message {
  const mode = attribute(
    IFLA_PROTINFO | NLA_F_NESTED,
    attribute(IFLA_BRPORT_MODE, Buffer.from([1])),
  );
  const made = link(RTM_SETLINK, NLM_F_ACK, 0, [mode]);
  made.bytes.writeUInt8(AF_BRIDGE, headSize);
  return withHoles(made, { index: indexAt });
}

/**
 * Returns the index and the MAC address that the interface is to have. A bridge whose last port has gone has none
 * (zeros): it gets a random one, locally administered, as the kernel gives them.
 */
export function setMac(): Message {
  const standIn = Buffer.from(crypto.getRandomValues(new Uint8Array(6)));
  standIn.writeUInt8((standIn.readUInt8(0) & 0xfe) | 0x02, 0);
  const { bytes } = link(RTM_SETLINK, NLM_F_ACK, 0, [attribute(IFLA_ADDRESS, standIn)]);
  return { bytes, holes: { index: indexAt, mac: headSize + ifinfomsgSize + 4 } };
}

/** Returns the index. The broadcast address is that of the range, where it has one. */
export function newAddress(address: Uint8Array, prefix: number): Message {
  const family = familyOf(address);
  const body = Buffer.alloc(8);
  body.writeUInt8(family, 0);
  body.writeUInt8(prefix, 1);
  const broadcast = family === AF_INET && prefix < 31 ? [broadcastOf(address, prefix)] : [];
  const bytes = message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, [
    body,
    attribute(IFA_LOCAL, address),
    attribute(IFA_ADDRESS, address),
    ...broadcast.map((one) => attribute(IFA_BROADCAST, one)),
  ]);
  return { bytes, holes: { index: indexAt } };
}

/** Returns the index of the interface. */
export function newRoute(
  destination: { readonly address: Uint8Array; readonly prefix: number },
  gateway: Uint8Array | undefined,
): Message {
  const body = Buffer.alloc(12);
  body.writeUInt8(familyOf(destination.address), 0);
  body.writeUInt8(destination.prefix, 1);
  body.writeUInt8(RT_TABLE_MAIN, 4);
  body.writeUInt8(RTPROT_BOOT, 5);
  body.writeUInt8(RTN_UNICAST, 7);
  const parts = [
    body,
    attribute(RTA_DST, destination.address),
    ...(gateway === undefined ? [] : [attribute(RTA_GATEWAY, gateway)]),
    attribute(RTA_OIF, u32(0)),
  ];
  const bytes = message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_ACK, parts);
  return { bytes, holes: { index: bytes.byteLength - 4 } };
}

function broadcastOf(address: Uint8Array, prefix: number): Uint8Array {
  return address.map((byte, i) => byte | (0xff >> Math.min(Math.max(prefix - 8 * i, 0), 8)));
}

function familyOf(address: Uint8Array): number {
  return address.byteLength === 4 ? AF_INET : AF_INET6;
}

function link(type: number, flags: number, up: number, parts: readonly Buffer[]): Message {
  const body = Buffer.alloc(ifinfomsgSize);
  body.writeUInt32LE(up, 8); // flags
  body.writeUInt32LE(up, 12); // and which of them are meant
  return { bytes: message(type, flags, [body, ...parts]), holes: {} };
}

function withHoles({ bytes }: Message, holes: Holes): Message {
  return { bytes, holes };
}

function message(type: number, flags: number, parts: readonly Uint8Array[]): Buffer {
  const head = Buffer.alloc(headSize);
  head.writeUInt32LE(headSize + parts.reduce((sum, part) => sum + part.byteLength, 0), 0);
  head.writeUInt16LE(type, 4);
  head.writeUInt16LE(NLM_F_REQUEST | flags, 6);
  return Buffer.concat([head, ...parts]);
}

function attribute(type: number, ...payload: readonly Uint8Array[]): Buffer {
  const size = 4 + payload.reduce((sum, part) => sum + part.byteLength, 0);
  const head = Buffer.alloc(4);
  head.writeUInt16LE(size, 0);
  head.writeUInt16LE(type, 2);
  return Buffer.concat([head, ...payload, Buffer.alloc(-size & 3)]);
}

function text(value: string): Buffer {
  return Buffer.from(`${value}\0`);
}

function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

//! What SSE calls that which AVX encodes with a third operand, and on 32 bytes.

use iced_x86::Mnemonic as M;

macro_rules! names {
    ($mnemonic:expr; $($avx:ident $sse:ident),* $(,)?) => {
        match $mnemonic {
            $(M::$avx => M::$sse,)*
            other => other,
        }
    };
}

/// SSE's name of an operation; that of what SSE has not is its own.
#[rustfmt::skip]
pub(crate) fn legacy(mnemonic: M) -> M {
    names! { mnemonic;
        Vaddps Addps, Vaddpd Addpd, Vaddss Addss, Vaddsd Addsd, Vsubps Subps, Vsubpd Subpd, Vsubss Subss,
        Vsubsd Subsd, Vmulps Mulps, Vmulpd Mulpd, Vmulss Mulss, Vmulsd Mulsd, Vdivps Divps, Vdivpd Divpd,
        Vdivss Divss, Vdivsd Divsd, Vminps Minps, Vminpd Minpd, Vminss Minss, Vminsd Minsd, Vmaxps Maxps,
        Vmaxpd Maxpd, Vmaxss Maxss, Vmaxsd Maxsd, Vsqrtps Sqrtps, Vsqrtpd Sqrtpd, Vsqrtss Sqrtss, Vsqrtsd Sqrtsd,
        Vcmpps Cmpps, Vcmppd Cmppd, Vcmpss Cmpss, Vcmpsd Cmpsd, Vcomiss Comiss, Vcomisd Comisd, Vucomiss Ucomiss,
        Vucomisd Ucomisd, Vhaddps Haddps, Vhaddpd Haddpd, Vhsubps Hsubps, Vhsubpd Hsubpd, Vaddsubps Addsubps,
        Vaddsubpd Addsubpd, Vdpps Dpps, Vdppd Dppd, Vroundps Roundps, Vroundpd Roundpd, Vroundss Roundss,
        Vroundsd Roundsd, Vrcpps Rcpps, Vrcpss Rcpss, Vrsqrtps Rsqrtps, Vrsqrtss Rsqrtss, Vcvtsi2ss Cvtsi2ss,
        Vcvtsi2sd Cvtsi2sd, Vcvtss2si Cvtss2si, Vcvtsd2si Cvtsd2si, Vcvttss2si Cvttss2si, Vcvttsd2si Cvttsd2si,
        Vcvtss2sd Cvtss2sd, Vcvtsd2ss Cvtsd2ss, Vcvtdq2ps Cvtdq2ps, Vcvtdq2pd Cvtdq2pd, Vcvtps2dq Cvtps2dq,
        Vcvttps2dq Cvttps2dq, Vcvtpd2dq Cvtpd2dq, Vcvttpd2dq Cvttpd2dq, Vcvtps2pd Cvtps2pd, Vcvtpd2ps Cvtpd2ps,
        Vmovups Movups, Vmovupd Movupd, Vmovdqu Movdqu, Vlddqu Lddqu, Vmovaps Movaps, Vmovapd Movapd, Vmovdqa Movdqa,
        Vmovntdqa Movntdqa, Vmovntps Movntps, Vmovntpd Movntpd, Vmovntdq Movntdq, Vmovss Movss, Vmovsd Movsd,
        Vmovlps Movlps, Vmovlpd Movlpd, Vmovhps Movhps, Vmovhpd Movhpd, Vmovd Movd, Vmovq Movq, Vmovhlps Movhlps,
        Vmovlhps Movlhps, Vmovddup Movddup, Vmovshdup Movshdup, Vmovsldup Movsldup, Vmovmskps Movmskps,
        Vmovmskpd Movmskpd, Vpmovmskb Pmovmskb, Vpextrb Pextrb, Vpextrw Pextrw, Vpextrd Pextrd, Vpextrq Pextrq,
        Vextractps Extractps, Vpinsrb Pinsrb, Vpinsrw Pinsrw, Vpinsrd Pinsrd, Vpinsrq Pinsrq, Vinsertps Insertps,
        Vptest Ptest, Vldmxcsr Ldmxcsr, Vstmxcsr Stmxcsr, Vmaskmovdqu Maskmovdqu, Vpcmpestri Pcmpestri,
        Vpcmpestri64 Pcmpestri64, Vpcmpestrm Pcmpestrm, Vpcmpestrm64 Pcmpestrm64, Vpcmpistri Pcmpistri,
        Vpcmpistrm Pcmpistrm, Vpblendvb Pblendvb, Vblendvps Blendvps, Vblendvpd Blendvpd, Vandps Andps, Vandpd Andpd,
        Vandnps Andnps, Vandnpd Andnpd, Vorps Orps, Vorpd Orpd, Vxorps Xorps, Vxorpd Xorpd, Vpaddb Paddb,
        Vpaddw Paddw, Vpaddd Paddd, Vpaddq Paddq, Vpsubb Psubb, Vpsubw Psubw, Vpsubd Psubd, Vpsubq Psubq,
        Vpaddsb Paddsb, Vpaddsw Paddsw, Vpaddusb Paddusb, Vpaddusw Paddusw, Vpsubsb Psubsb, Vpsubsw Psubsw,
        Vpsubusb Psubusb, Vpsubusw Psubusw, Vpmullw Pmullw, Vpmulld Pmulld, Vpmulhw Pmulhw, Vpmulhuw Pmulhuw,
        Vpmulhrsw Pmulhrsw, Vpmuludq Pmuludq, Vpmuldq Pmuldq, Vpavgb Pavgb, Vpavgw Pavgw, Vpmaddwd Pmaddwd,
        Vpmaddubsw Pmaddubsw, Vpsadbw Psadbw, Vmpsadbw Mpsadbw, Vphminposuw Phminposuw, Vpminub Pminub,
        Vpminuw Pminuw, Vpminud Pminud, Vpminsb Pminsb, Vpminsw Pminsw, Vpminsd Pminsd, Vpmaxub Pmaxub,
        Vpmaxuw Pmaxuw, Vpmaxud Pmaxud, Vpmaxsb Pmaxsb, Vpmaxsw Pmaxsw, Vpmaxsd Pmaxsd, Vpcmpeqb Pcmpeqb,
        Vpcmpeqw Pcmpeqw, Vpcmpeqd Pcmpeqd, Vpcmpeqq Pcmpeqq, Vpcmpgtb Pcmpgtb, Vpcmpgtw Pcmpgtw, Vpcmpgtd Pcmpgtd,
        Vpcmpgtq Pcmpgtq, Vpsignb Psignb, Vpsignw Psignw, Vpsignd Psignd, Vpabsb Pabsb, Vpabsw Pabsw, Vpabsd Pabsd,
        Vpand Pand, Vpandn Pandn, Vpor Por, Vpxor Pxor, Vphaddw Phaddw, Vphaddd Phaddd, Vphaddsw Phaddsw,
        Vphsubw Phsubw, Vphsubd Phsubd, Vphsubsw Phsubsw, Vpsllw Psllw, Vpslld Pslld, Vpsllq Psllq, Vpsrlw Psrlw,
        Vpsrld Psrld, Vpsrlq Psrlq, Vpsraw Psraw, Vpsrad Psrad, Vpslldq Pslldq, Vpsrldq Psrldq, Vunpcklps Unpcklps,
        Vunpckhps Unpckhps, Vunpcklpd Unpcklpd, Vunpckhpd Unpckhpd, Vpunpcklbw Punpcklbw, Vpunpcklwd Punpcklwd,
        Vpunpckldq Punpckldq, Vpunpcklqdq Punpcklqdq, Vpunpckhbw Punpckhbw, Vpunpckhwd Punpckhwd,
        Vpunpckhdq Punpckhdq, Vpunpckhqdq Punpckhqdq, Vpacksswb Packsswb, Vpackuswb Packuswb, Vpackssdw Packssdw,
        Vpackusdw Packusdw, Vpshufd Pshufd, Vpshuflw Pshuflw, Vpshufhw Pshufhw, Vpshufb Pshufb, Vpalignr Palignr,
        Vshufps Shufps, Vshufpd Shufpd, Vpblendw Pblendw, Vblendps Blendps, Vblendpd Blendpd, Vpmovsxbw Pmovsxbw,
        Vpmovsxbd Pmovsxbd, Vpmovsxbq Pmovsxbq, Vpmovsxwd Pmovsxwd, Vpmovsxwq Pmovsxwq, Vpmovsxdq Pmovsxdq,
        Vpmovzxbw Pmovzxbw, Vpmovzxbd Pmovzxbd, Vpmovzxbq Pmovzxbq, Vpmovzxwd Pmovzxwd, Vpmovzxwq Pmovzxwq,
        Vpmovzxdq Pmovzxdq, Vaesenc Aesenc, Vaesenclast Aesenclast, Vaesdec Aesdec, Vaesdeclast Aesdeclast,
        Vaesimc Aesimc, Vaeskeygenassist Aeskeygenassist, Vpclmulqdq Pclmulqdq,
    }
}
